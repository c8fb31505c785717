"""What buses are measured with: as little as a message can say."""

from __future__ import annotations

import msgspec


class Small(msgspec.Struct, frozen=True, gc=False):
    number: int
