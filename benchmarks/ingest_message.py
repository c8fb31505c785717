"""What ingestion is measured with: an order of a shop, some hundred bytes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from contracts.dataset import Column
from contracts.event import Event, EventTime, Lake, Land

DDL = """(order_id bigint not null, customer text not null, placed_at timestamptz not null,
    amount numeric(12,2) not null, channel text, note text"""
NAMES = ("order_id", "customer", "placed_at", "amount", "channel", "note")
LAKE_ROWS = 10_000
"""Of a file of the lake."""
KEY = ", primary key (order_id))"


class Placed(msgspec.Struct, frozen=True, gc=False):
    """As a loop by hand decodes it."""

    order_id: int
    customer: str
    placed_at: datetime
    amount: Decimal
    channel: str | None = None
    note: str | None = None


def order_id(number: int) -> int:
    """One in twenty is of an order that was there before."""
    return number if number % 20 else number // 2


def body(number: int) -> bytes:
    at = f"2026-01-15T12:{number // 60 % 60:02}:{number % 60:02}Z"
    placed = {
        "order_id": order_id(number),
        "customer": f"c{number % 1000}",
        "placed_at": at,
        "amount": f"{number % 10_000}.50",
        "channel": "web",
        "note": "x" * 30,
    }
    return msgspec.json.encode(placed)


def event(topic: str, table: str, partitions: int, *, way: str) -> Event:
    """The same as it is declared: into a table, with a key (`merge`) or without (`copy`), or into a `lake`."""
    columns = (
        Column(name="order_id", type="int", nullable=False),
        Column(name="customer", nullable=False),
        Column(name="placed_at", type="timestamp", nullable=False),
        Column(name="amount", type="decimal", precision=12, scale=2, nullable=False),
        Column(name="channel"),
        Column(name="note"),
    )
    lake = Lake(path=f"lakes/{table}", rows=LAKE_ROWS) if way == "lake" else None
    key = ("order_id",) if way == "merge" else ()
    land = Land(table=None if lake else table, key=key, lake=lake, rows=5000, wait_s=0.05)
    time = EventTime(column="placed_at", max_future_s=10 * 366 * 86400)
    return Event(name="placed", topic=topic, columns=columns, partitions=partitions, time=time, land=land)
