"""What every Cache promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from contracts.ports.cache import Cache

Pass = Callable[[float], Awaitable[None]]
"""Lets that many seconds go by for the cache."""


async def exercise_cache(cache: Cache, let_pass: Pass) -> None:
    """Run every promise of the port against an opened, empty `cache`."""
    await _keeps(cache)
    await _expires(cache, let_pass)
    await _flushes(cache)
    await _serves_many_at_once(cache)
    await cache.check()
    assert cache.address


async def _keeps(cache: Cache) -> None:
    assert await cache.get("k") is None
    assert not await cache.exists("k")
    assert not await cache.delete("k")
    for value in (b"v", b"", bytes(range(256)) * 100, "ü".encode()):
        await cache.set("k", value)
        assert await cache.get("k") == value
        assert await cache.exists("k")
    for key in ("", "a b", "ключ", "a:b:*[?]", "x" * 500):
        await cache.set(key, key.encode() + b"!")
        assert await cache.get(key) == key.encode() + b"!"
        assert await cache.delete(key)
    assert await cache.delete("k")
    assert not await cache.delete("k")
    assert await cache.get("k") is None
    for ttl_s in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="more than 0"):
            await cache.set("k", b"v", ttl_s=ttl_s)
    assert not await cache.exists("k")


async def _expires(cache: Cache, let_pass: Pass) -> None:
    await cache.set("short", b"1", ttl_s=0.5)
    await cache.set("long", b"2", ttl_s=60)
    await cache.set("kept", b"3", ttl_s=0.5)
    await cache.set("kept", b"4")
    await cache.set("again", b"5", ttl_s=0.5)
    await cache.set("again", b"6", ttl_s=60)
    assert await cache.get("short") == b"1"
    await let_pass(0.6)
    assert await cache.get("short") is None
    assert not await cache.exists("short")
    assert not await cache.delete("short")
    assert [await cache.get(key) for key in ("long", "kept", "again")] == [b"2", b"4", b"6"]
    assert await cache.flush() == 3


async def _flushes(cache: Cache) -> None:
    for key in ("user:1", "user:2", "user*", "other", "us"):
        await cache.set(key, b"x")
    assert await cache.flush("user:") == 2
    assert await cache.flush("user*") == 1
    assert await cache.flush("nothing") == 0
    assert await cache.exists("other")
    assert await cache.flush() == 2
    assert await cache.flush() == 0


async def _serves_many_at_once(cache: Cache) -> None:
    async def use(number: int) -> None:
        await cache.set(f"n:{number}", b"%d" % number)
        assert await cache.get(f"n:{number}") == b"%d" % number

    await asyncio.gather(*map(use, range(100)))
    assert await cache.flush("n:") == 100
