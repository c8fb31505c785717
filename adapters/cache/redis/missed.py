"""What a cache that did not answer was not told: values that it must not serve when it is back."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 10_000
"""Above this, everything is forgotten: that is one word, and always right."""


class Missed:
    """Keys and beginnings of keys."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._keys: dict[str, None] = {}
        self._prefixes: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._keys or self._prefixes)

    def add(self, keys: Iterable[str] = (), *, prefix: str | None = None) -> None:
        """They were to be set or deleted."""
        if prefix is not None:
            self._prefixes[prefix] = None
        self._keys.update(dict.fromkeys(keys))
        if len(self._keys) + len(self._prefixes) > self._most:
            self._keys, self._prefixes = {}, {"": None}

    def take(self) -> tuple[list[str], list[str]]:
        """All keys and all beginnings; whoever takes them sees to them, or adds them again."""
        taken = list(self._keys), list(self._prefixes)
        self._keys, self._prefixes = {}, {}
        return taken
