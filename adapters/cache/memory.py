"""A cache in this process's memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from adapters.cache.flights import Flights
from adapters.cache.lookups import Lookups
from adapters.cache.ttl import check_ttl
from contracts.ports.clock import Clock
from contracts.ports.metrics import Metrics

OVERHEAD_BYTES = 200
"""What an entry costs beside its key and value."""


class _Entry(NamedTuple):
    value: bytes
    size_bytes: int
    expires_at: float
    """By the clock's `monotonic`."""


class MemoryCache:
    """Keeps at most `most_entries` and `most_bytes` (keys, values and a fixed cost each); what was used longest ago
    goes first, and a value that alone is larger is not kept. Expired entries go when they are met or crowded out."""

    def __init__(
        self,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        most_entries: int = 100_000,
        most_bytes: int = 64 << 20,
    ) -> None:
        self._clock = clock
        self._lookups = Lookups(metrics)
        self._flights = Flights(clock)
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def address(self) -> str:
        return "memory"

    @property
    def size_bytes(self) -> int:
        """What the entries count for."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def open(self) -> None:
        """Nothing to open."""

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = dict.fromkeys(keys)
        found = {key: entry.value for key in wanted if (entry := self._living(key)) is not None}
        for key in found:
            self._entries.move_to_end(key)
        self._lookups.add(found=len(found), asked=len(wanted))
        return found

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[bytes]], *, ttl_s: float | None = None) -> bytes:
        check_ttl(key, ttl_s)
        if (value := await self.get(key)) is not None:
            return value

        async def keep(value: bytes) -> None:
            self._keep(key, value, ttl_s)

        return await self._flights.value(key, load, keep)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.set_many({key: value}, ttl_s=ttl_s)

    async def set_many(self, values: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        for key in values:
            check_ttl(key, ttl_s)
        self._flights.forget(*values)
        for key, value in values.items():
            self._keep(key, value, ttl_s)

    async def delete(self, key: str) -> bool:
        self._flights.forget(key)
        there = self._living(key) is not None
        self._drop(key)
        return there

    async def exists(self, key: str) -> bool:
        return self._living(key) is not None

    async def flush(self, prefix: str = "") -> int:
        self._flights.forget_all(prefix)
        met = [key for key in self._entries if key.startswith(prefix)]
        living = sum(self._living(key) is not None for key in met)
        for key in met:
            self._drop(key)
        return living

    def _keep(self, key: str, value: bytes, ttl_s: float | None) -> None:
        self._drop(key)
        size_bytes = len(key.encode("utf-8", "surrogatepass")) + len(value) + OVERHEAD_BYTES
        if size_bytes > self._most_bytes:
            return
        expires_at = math.inf if ttl_s is None else self._clock.monotonic() + ttl_s
        self._entries[key] = _Entry(bytes(value), size_bytes, expires_at)
        self._bytes += size_bytes
        while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
            self._bytes -= self._entries.popitem(last=False)[1].size_bytes

    def _living(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires_at <= self._clock.monotonic():
            self._drop(key)
            return None
        return entry

    def _drop(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry.size_bytes
