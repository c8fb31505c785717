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
    await _takes_many_together(cache)
    await _loads_once(cache)
    await _loads_again_after_a_failure(cache)
    await _keeps_nothing_that_was_forgotten_meanwhile(cache)
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
    await cache.set("short", b"1", ttl_s=1)
    assert await cache.get("short") == b"1"
    await cache.set("long", b"2", ttl_s=60)
    await cache.set("kept", b"3", ttl_s=1)
    await cache.set("kept", b"4")
    await cache.set("again", b"5", ttl_s=1)
    await cache.set("again", b"6", ttl_s=60)
    await let_pass(1.1)
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


async def _takes_many_together(cache: Cache) -> None:
    assert await cache.get_many([]) == {}
    await cache.set_many({})
    await cache.set_many({f"m:{number}": b"%d" % number for number in range(3000)}, ttl_s=60)
    await cache.set_many({"m:empty": b"", "m:1": b"one"})
    found = await cache.get_many(["m:0", "m:1", "m:1", "m:2999", "m:none", "m:empty"])
    assert found == {"m:0": b"0", "m:1": b"one", "m:2999": b"2999", "m:empty": b""}
    assert len(await cache.get_many(f"m:{number}" for number in range(4000))) == 3000
    with pytest.raises(ValueError, match="more than 0"):
        await cache.set_many({"m:new": b"x"}, ttl_s=0)
    assert await cache.flush("m:") == 3001


async def _loads_once(cache: Cache) -> None:
    loads = 0
    begun, go = asyncio.Event(), asyncio.Event()

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        begun.set()
        await go.wait()
        return b"loaded"

    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(cache.get_or_load("l", load, ttl_s=60)) for _ in range(50)]
        await begun.wait()
        go.set()
    assert {task.result() for task in asking} == {b"loaded"}
    assert loads == 1
    assert await cache.get("l") == b"loaded"
    assert await cache.get_or_load("l", load) == b"loaded"
    assert loads == 1
    with pytest.raises(ValueError, match="more than 0"):
        await cache.get_or_load("l2", load, ttl_s=-1)
    assert await cache.flush() == 1


async def _loads_again_after_a_failure(cache: Cache) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def fails() -> bytes:
        begun.set()
        await go.wait()
        raise LookupError("the source is down")

    async def loads() -> bytes:
        return b"fine"

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_error_of(cache.get_or_load("f", fails)))
        await begun.wait()
        second = tasks.create_task(cache.get_or_load("f", loads))
        go.set()
    assert isinstance(first.result(), LookupError)
    assert second.result() == b"fine"

    begun.clear()
    go.clear()
    async with asyncio.TaskGroup() as tasks:
        cancelled = tasks.create_task(cache.get_or_load("c", fails))
        await begun.wait()
        third = tasks.create_task(cache.get_or_load("c", loads))
        cancelled.cancel()
    assert third.result() == b"fine"
    assert await cache.flush() == 2


async def _keeps_nothing_that_was_forgotten_meanwhile(cache: Cache) -> None:
    """What is loaded while the source changes may be of before the change: who changes it deletes the key."""

    async def delete(key: str) -> None:
        await cache.delete(key)

    async def flush(key: str) -> None:
        await cache.flush(key[:3])

    async def overwrite(key: str) -> None:
        await cache.set(key, b"new")

    for change, left in ((delete, None), (flush, None), (overwrite, b"new")):
        key = f"key of {change.__name__}"
        begun, go = asyncio.Event(), asyncio.Event()

        async def load(begun: asyncio.Event = begun, go: asyncio.Event = go) -> bytes:
            begun.set()
            await go.wait()
            return b"old"

        async with asyncio.TaskGroup() as tasks:
            loading = tasks.create_task(cache.get_or_load(key, load))
            await begun.wait()
            await change(key)
            later = tasks.create_task(cache.get_or_load(key, _new))
            assert await later == b"new", "who asks after the change is not given what was read before it"
            if left is None:
                await change(key)
            go.set()
        assert loading.result() == b"old"
        assert await cache.get(key) == left
    await cache.flush()


async def _new() -> bytes:
    return b"new"


async def _error_of(act: Awaitable[bytes]) -> Exception | None:
    try:
        await act
    except LookupError as error:
        return error
    return None
