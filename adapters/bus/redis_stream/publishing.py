"""Addresses that are declared, and envelopes into their streams."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.entry import fields_of
from adapters.bus.redis_stream.link import Link, checked
from adapters.bus.redis_stream.script import Command
from contracts.errors import Faults
from contracts.message import Envelope
from contracts.ports.clock import Clock

DEFAULT_PARTITIONS = 8
MOST_AT_ONCE = 1_000
MOST_BYTES_AT_ONCE = 4 * 1024 * 1024


class Addresses:
    """How many partitions each address has: as this process declares it, and as Redis remembers it."""

    def __init__(self) -> None:
        self._declared: dict[str, int] = {}
        self._known: dict[str, int] = {}

    def declare(self, address: str, partitions: int) -> None:
        """What the address is to have. Raises `Faults` when this process declared another number before."""
        if partitions < 1:
            raise Faults(f"address {address}", [f"{partitions} partitions: at least 1 is needed"])
        before = self._declared.setdefault(address, partitions)
        if before != partitions:
            raise Faults(
                f"address {address}",
                [f"declared with {partitions} partitions, and with {before} before: declare one number"],
            )

    async def partitions(self, address: str, link: Link, *, anew: bool = False) -> int:
        """As Redis remembers it, which is told now where it doesn't know yet; asked once, unless `anew`."""
        if anew or address not in self._known:
            wanted = self._declared.get(address, DEFAULT_PARTITIONS)
            self._known[address] = int(await remembered(link, keys.about(address), "partitions", str(wanted)))
        return self._known[address]

    def forget(self) -> None:
        """Redis is asked again: it may have lost what it knew."""
        self._known.clear()

    async def agreed(self, address: str, link: Link) -> int:
        """The same for whoever depends on the number; raises `Faults` when Redis remembers another one."""
        partitions = await self.partitions(address, link, anew=True)
        wanted = self._declared.get(address, partitions)
        if wanted != partitions:
            raise Faults(
                f"address {address}",
                [
                    f"declared with {wanted} partitions, but it has {partitions} in Redis: declare {partitions}, or "
                    f"(what it holds is lost to its readers then) delete {keys.about(address)} while nobody uses it"
                ],
            )
        return partitions


async def remembered(link: Link, key: str, field: str, otherwise: str) -> str:
    """What a hash says, which is `otherwise` from now on where it says nothing. A full server can still be asked."""
    if (known := await link.call("HGET", key, field)) is None:
        await link.call("HSETNX", key, field, otherwise)
        known = await link.call("HGET", key, field)
    return otherwise if known is None else str(known.decode())


class Publisher:
    """Puts envelopes into streams over one connection, so that those of one key keep their order."""

    def __init__(self, link: Link, addresses: Addresses, *, clock: Clock) -> None:
        self._link = link
        self._addresses = addresses
        self._turn = int(clock.random() * 1_000_000)
        self._connection = 0

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Returns once Redis confirmed all. Raises `Transient` when it is full, else `Unavailable`."""
        if self._connection != self._link.made:
            self._connection = self._link.made
            self._addresses.forget()
        places = {
            address: await self._addresses.partitions(address, self._link)
            for address in dict.fromkeys(envelope.address for envelope in envelopes)
        }
        commands: list[Command] = []
        size_bytes = 0
        for envelope in envelopes:
            stream = self._stream(envelope, places[envelope.address])
            commands.append(("XADD", stream, "*", *fields_of(envelope)))
            size_bytes += len(envelope.body)
            if len(commands) >= MOST_AT_ONCE or size_bytes >= MOST_BYTES_AT_ONCE:
                await self._add(commands)
                commands, size_bytes = [], 0
        await self._add(commands)

    async def _add(self, commands: list[Command]) -> None:
        for reply in await self._link.calls(commands) if commands else ():
            checked(reply)

    def _stream(self, envelope: Envelope, partitions: int) -> str:
        if envelope.key is None:
            self._turn += 1
            index = self._turn % partitions
        else:
            index = keys.partition_of(envelope.key, partitions)
        return keys.stream_of(envelope.address, index, partitions)
