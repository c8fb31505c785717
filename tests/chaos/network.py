"""The ways of a worker to the bus and to the database, which are cut and stalled for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from tests.kit import services
from tests.kit.proxied import proxied
from tests.kit.proxy import Proxy, Way


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Of one worker."""

    bus: Proxy
    database: Proxy


@asynccontextmanager
async def networks(count: int, *, bus: services.Running, database: str) -> AsyncIterator[list[Network]]:
    """So many, in order; a Kafka needs a door for each."""
    async with AsyncExitStack() as stack:
        made = []
        for number in range(count):
            to_bus = await stack.enter_async_context(proxied(bus, door=number))
            to_database = await stack.enter_async_context(proxied(database))
            made.append(Network(bus=to_bus, database=to_database))
        yield made


async def cut(ways: Sequence[Proxy], for_s: float) -> None:
    """Every connection is reset, and whoever connects is refused, for so long."""
    for way in ways:
        await way.refuse()
        way.cut()
    await asyncio.sleep(for_s)  # noqa: TID251 - what happens to workers meanwhile is what is tried
    for way in ways:
        await way.accept()


async def stall(ways: Sequence[Proxy], for_s: float, *, only: Way | None) -> None:
    """Nothing goes through for so long (in one direction only, if it is named); then all of it arrives."""
    for way in ways:
        way.stall(only)
    await asyncio.sleep(for_s)  # noqa: TID251 - as above
    for way in ways:
        way.resume()
