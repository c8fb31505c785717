"""Secrets by name. A value never shows itself in a repr, a log or an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from contracts.ports.health import Checked


class Secret:
    """A value that prints as `***`; `reveal()` at the one place that needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


Credential = Callable[[], Awaitable[Secret]]
"""A secret for who connects: looked up anew for each connection, so that one that was exchanged is taken up. Raises
`NotFound` or `Unavailable`."""


def fixed(secret: Secret) -> Credential:
    """One that never changes."""

    async def look_up() -> Secret:
        return secret

    return look_up


class Secrets(Checked, Protocol):
    """Where secrets are looked up."""

    @property
    def seen_within_s(self) -> float:
        """A value that was exchanged is seen after so long at most; 0: by the next look."""
        ...

    async def get(self, key: str) -> Secret | None:
        """None when missing. Keys are matched as given, then in upper case with `-` and `.` as `_`."""
        ...

    async def require(self, key: str) -> Secret:
        """Raises `NotFound` naming the key and where it was looked for."""
        ...
