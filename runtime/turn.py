"""Give the event loop its turn."""

from __future__ import annotations

import types
from collections.abc import Generator


@types.coroutine
def next_turn() -> Generator[None, None, None]:
    """Let everything else that is ready run once; not a wait, so no clock is involved."""
    yield
