"""A switch of a module, as it is declared by `Module.flag`."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

Value = bool | int | float | str
T = TypeVar("T", bool, int, float, str)


class Flag(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """`name` begins with its module's. The type of `default` is that of its values."""

    name: str
    default: T
    help: str
