"""What streams are measured with."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True):
    """Some hundred bytes, as most events are."""

    customer: str
    number: int
    price: float
    note: str
