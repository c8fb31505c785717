"""Keys with a time to live. A cache may forget anything at any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from contracts.ports.health import Checked


class Cache(Checked, Protocol):
    """Bytes by key, for as long as the time to live says and the cache likes.

    A cache that does not answer is no error: everything is missing then, nothing is kept, and work goes on without it.
    Only `check` raises `Unavailable`. What was set or deleted meanwhile is not served from before when it is back.
    """

    async def get(self, key: str) -> bytes | None:
        """None when missing or expired."""
        ...

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Those that are there, in one round trip."""
        ...

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[bytes]], *, ttl_s: float | None = None) -> bytes:
        """What is there, or else what `load` returns, which is kept. Of all who ask for a missing key at the same time
        one loads, the others wait for it. When that one fails the next one loads, and an error of `load` is raised to
        its own caller. Nobody waits longer than the cache's bound for it: then it is loaded twice."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Overwrites. Without `ttl_s` it stays until evicted; a `ttl_s` of 0 or less raises `ValueError`."""
        ...

    async def set_many(self, values: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        """As `set`, in one round trip; not in one step."""
        ...

    async def delete(self, key: str) -> bool:
        """Whether it was there."""
        ...

    async def exists(self, key: str) -> bool: ...

    async def flush(self, prefix: str = "") -> int:
        """Forget every key with `prefix` (of this application's keys); returns how many."""
        ...
