"""Switches that are turned without a release: what a module's code asks, and who operates it answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from contracts.flag import Flag, T, Value
from contracts.ports.health import Checked

Source = Literal["environment", "file", "default"]


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """How a flag stands, and who says so; `variable` is the one that turns it."""

    value: Value
    variable: str
    source: Source


class Flags(Checked, Protocol):
    """`get` and `turned` never block for long and never raise: a value that does not fit is as if it were not given."""

    def get(self, flag: Flag[T]) -> T:
        """How it stands now. Ask each time: it may be turned while the process runs."""
        ...

    def turned(self, flag: Flag[T]) -> Turned: ...

    def faults(self, flags: Iterable[Flag[T]]) -> list[str]:
        """Every given value that does not fit its flag."""
        ...
