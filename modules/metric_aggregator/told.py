"""What comes of a batch, beside the windows themselves: what is to be told, and what was put aside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from contracts.metric_aggregator import Reason


class Result(msgspec.Struct, frozen=True, gc=False):
    """A window as it is to be told. `start` and `end` are in microseconds, `values` in the order of the measures."""

    key: Any
    start: int
    end: int
    values: tuple[Any, ...]
    events: int
    closed: bool
    revision: int
    corrects: bool = False
    """It was told as closed before."""


class Aside(msgspec.Struct, frozen=True, gc=False):
    """An event that no window took."""

    reason: Reason
    at: datetime
    event: msgspec.Struct


class Told(msgspec.Struct, kw_only=True):
    """Of one batch, or of the time that passed without one. `corrected` counts late events that a window still took;
    `retracted` results are of sessions that have another start now."""

    results: list[Result] = msgspec.field(default_factory=list)
    retracted: list[Result] = msgspec.field(default_factory=list)
    aside: list[Aside] = msgspec.field(default_factory=list)
    corrected: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.results or self.retracted or self.aside)
