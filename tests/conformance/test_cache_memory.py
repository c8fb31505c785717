from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cache.memory import OVERHEAD_BYTES, MemoryCache
from adapters.clock.manual import ManualClock
from adapters.metrics.memory import MemoryMetrics
from contracts.metrics import CACHE_HIT_RATE
from tests.conformance.cache_suite import exercise_cache

pytestmark = pytest.mark.anyio


async def test_memory_cache() -> None:
    clock = ManualClock()
    cache = MemoryCache(clock)
    await cache.open()
    await exercise_cache(cache, clock.advance)
    await cache.set("left", b"x")
    await cache.close()
    await cache.close()
    assert len(cache) == 0
    assert cache.size_bytes == 0


async def test_what_was_used_longest_ago_goes_first() -> None:
    cache = MemoryCache(ManualClock(), most_entries=3)
    for key in "abc":
        await cache.set(key, b"x")
    await cache.get("a")
    await cache.set("d", b"x")
    assert [key for key in "abcd" if await cache.exists(key)] == ["a", "c", "d"]


async def test_bytes_are_bounded_and_a_giant_is_not_kept() -> None:
    cache = MemoryCache(ManualClock(), most_bytes=3 * (OVERHEAD_BYTES + 101))
    for key in "abcd":
        await cache.set(key, b"x" * 100)
    assert [key for key in "abcd" if await cache.exists(key)] == ["b", "c", "d"]
    await cache.set("b", b"y" * 5000)
    assert not await cache.exists("b"), "an old value must not outlive the one that was too large"
    assert await cache.exists("c")


async def test_hit_rate() -> None:
    metrics = MemoryMetrics()
    cache = MemoryCache(ManualClock(), metrics=metrics)
    await cache.set("k", b"v")
    for key in ("k", "k", "k", "missing"):
        await cache.get(key)
    assert metrics.value(CACHE_HIT_RATE) == 0.75


operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abcdef"), st.binary(max_size=300), st.none() | st.floats(0.1, 5)),
        st.tuples(st.sampled_from(["get", "delete"]), st.sampled_from("abcdef")),
        st.tuples(st.just("pass"), st.floats(0, 3)),
    ),
    max_size=60,
)


@given(operations)
async def test_never_stale_and_never_over_its_bounds(operations: list[tuple[object, ...]]) -> None:
    clock = ManualClock()
    cache = MemoryCache(clock, most_entries=4, most_bytes=1500)
    model: dict[str, tuple[bytes, float]] = {}
    for operation in operations:
        match operation:
            case ("set", str(key), bytes(value), ttl_s):
                assert ttl_s is None or isinstance(ttl_s, float)
                await cache.set(key, value, ttl_s=ttl_s)
                model[key] = (value, clock.monotonic() + (ttl_s or 1e9))
            case ("get", str(key)):
                value, until = model.get(key, (b"", 0.0))
                found = await cache.get(key)
                assert found is None or (found == value and clock.monotonic() < until)
            case ("delete", str(key)):
                await cache.delete(key)
                model.pop(key, None)
            case ("pass", float(seconds)):
                await clock.advance(seconds)
        assert len(cache) <= 4
        assert cache.size_bytes <= 1500
    await cache.flush()
    assert cache.size_bytes == 0
