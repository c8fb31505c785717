"""Keys with a time to live. A cache may forget anything at any time."""

from __future__ import annotations

from typing import Protocol

from contracts.ports.health import Checked


class Cache(Checked, Protocol):
    """Bytes by key, for as long as the time to live says and the cache likes."""

    async def get(self, key: str) -> bytes | None:
        """None when missing or expired."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Overwrites. Without `ttl_s` it stays until evicted; a `ttl_s` of 0 or less raises `ValueError`."""
        ...

    async def delete(self, key: str) -> bool:
        """Whether it was there."""
        ...

    async def exists(self, key: str) -> bool: ...

    async def flush(self, prefix: str = "") -> int:
        """Forget every key with `prefix` (of this application's keys); returns how many."""
        ...
