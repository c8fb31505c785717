"""What the windows of a partition are to whoever brings events and time to them, whatever their kind."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

import msgspec

from modules.metric_aggregator.told import Result

Row = tuple[int, list[tuple[Any, Any]]]
"""A piece of what is saved: a start (0 for sessions, which have their own), and what is kept there by key."""

ROW_ITEMS = 500
"""So many with the largest of sketches make 5 MB."""


class Fit(enum.Enum):
    """How an event that lies behind the watermark was taken."""

    IN_TIME = enum.auto()
    LATE = enum.auto()
    TOO_LATE = enum.auto()


class Overweight(Exception):
    """The windows weigh more than is allowed."""

    def __init__(self, weight_bytes: int, windows: int) -> None:
        super().__init__(weight_bytes, windows)
        self.weight_bytes = weight_bytes
        self.windows = windows


class Windows(Protocol):
    """Everything that is kept of a partition. Instants are in microseconds. Both ways of adding raise `Overweight`."""

    weight_bytes: int
    """What it all weighs in memory, about."""

    def __len__(self) -> int:
        """How many windows there are, of all keys."""
        ...

    def add(self, events: Sequence[msgspec.Struct], times: Sequence[datetime]) -> None:
        """Of which none lay behind the watermark when it came."""
        ...

    def add_late(self, event: msgspec.Struct, at: datetime, watermark: int, forgotten: int) -> Fit:
        """One that did, with the watermark as it stood. After those of `add` of the same batch, whatever their order:
        an event that is not behind the watermark has no window that was forgotten when one before it came."""
        ...

    def close(self, watermark: int, forgotten: int, *, changes: bool) -> list[Result]:
        """What is to be told: windows that are closed by now, those that were told and have changed, and with `changes`
        all that have changed. What ends by `forgotten` is dropped."""
        ...

    def retracted(self) -> list[Result]:
        """What was told and is nothing by itself any more, since the last call."""
        ...

    @property
    def saved_as(self) -> Any:
        """The type of what is kept by key in a row."""
        ...

    def changed_rows(self) -> Iterator[Row]:
        """What has changed since the last call; a row replaces what was saved before of its start and keys."""
        ...

    def all_rows(self) -> Iterator[Row]: ...

    def restore(self, rows: Sequence[Row], forgotten: int) -> None:
        """Rows in the order in which they were saved, into windows that are new; those that were saved as changed and
        are forgotten by now are left out."""
        ...

    def restored(self, watermark: int) -> None:
        """After the last row."""
        ...


def rows_of(kept: Mapping[int, Mapping[Any, Any]]) -> Iterator[Row]:
    """Rows of a size that can be told."""
    for start, by_key in kept.items():
        items = iter(by_key.items())
        while some := list(islice(items, ROW_ITEMS)):
            yield start, some
