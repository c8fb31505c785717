"""What hits the workers, the services and the networks between them, in an order that a seed decides."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.chaos.fleet import Fleet
from tests.chaos.network import cut, stall
from tests.chaos.plan import Plan
from tests.kit import services
from tests.kit.proxy import Proxy, Way
from tests.kit.services.native import DidNotStart

ON_WORKERS = ("kill",) * 4 + ("stop",) * 3 + ("drain",) * 2 + ("one more or fewer",) * 2
ON_BROKER = ("restart the broker", "crash the broker")
ON_DATABASE = ("restart the database", "crash the database")
ON_NETWORK = ("cut off the broker", "stall the broker", "cut off the database", "stall the database")
WAYS: tuple[Way | None, ...] = (None, "requests", "answers")
PAUSE_S = (0.2, 1.5)
DARK_S = (0.5, 5.0)
"""Longer than a session and a lease, now and then."""
DOWN_S = (0.0, 3.0)
BROKER_STARTS = 3


def drawn(plan: Plan, draw: random.Random) -> list[str]:
    """Their kinds, in their order. Each kind of a few comes before any comes twice."""
    few: list[str] = []
    for kinds, count in (
        (ON_BROKER, plan.broker_restarts),
        (ON_DATABASE, plan.database_restarts),
        (ON_NETWORK, plan.cuts),
    ):
        mixed = draw.sample(kinds, len(kinds))
        few += [mixed[number % len(kinds)] for number in range(count)]
    struck = few + [draw.choice(ON_WORKERS) for _ in range(plan.blows)]
    draw.shuffle(struck)
    return struck


class Blows:
    """Falls, one after the other; the networks' go on beside the next ones. `counts` are those that fell."""

    def __init__(
        self, plan: Plan, draw: random.Random, *, fleet: Fleet, bus: services.Running, database: services.OwnPostgres
    ) -> None:
        self.kinds = drawn(plan, draw)
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._draw = draw
        self._fleet = fleet
        self._bus = bus
        self._database = database

    async def fall(self, after_each: Callable[[], None]) -> None:
        """Returns when everything is up again."""
        async with asyncio.TaskGroup() as beside:
            for kind in self.kinds:
                await asyncio.sleep(self._draw.uniform(*PAUSE_S))  # noqa: TID251 - blows fall at random
                self.counts["could not start"] += await self._fleet.revive()
                self.counts[kind] += 1
                if kind in ON_NETWORK:
                    beside.create_task(self._network(kind))
                elif kind in ON_WORKERS:
                    await self._worker(kind)
                elif kind in ON_BROKER:
                    await self._restart_broker(crashes=kind.startswith("crash"))
                else:
                    await self._restart_database(crashes=kind.startswith("crash"))
                after_each()

    async def _worker(self, kind: str) -> None:
        victim = self._draw.randrange(len(self._fleet.members))
        match kind:
            case "kill":
                await self._fleet.replace(victim, signal.SIGKILL)
            case "drain":
                await self._fleet.replace(victim, signal.SIGTERM)
            case "stop":
                member = self._fleet.members[victim]
                member.send(signal.SIGSTOP)
                await asyncio.sleep(self._draw.uniform(*DARK_S))  # noqa: TID251 - longer than a lease, now and then
                member.send(signal.SIGCONT)
            case _ if self._fleet.room:
                await self._fleet.start()
            case _:
                await self._fleet.end_one(victim, signal.SIGTERM)

    def _network(self, kind: str) -> Coroutine[Any, Any, None]:
        """Of one worker, or of all of them."""
        members = self._draw.choice([[self._draw.choice(self._fleet.members)], self._fleet.members])
        for_s, way = self._draw.uniform(*DARK_S), self._draw.choice(WAYS)
        ways: Sequence[Proxy] = [
            member.network.bus if kind.endswith("broker") else member.network.database for member in members
        ]
        return cut(ways, for_s) if kind.startswith("cut") else stall(ways, for_s, only=way)

    async def _restart_broker(self, *, crashes: bool) -> None:
        server = self._bus.server
        await asyncio.to_thread(server.kill if crashes else server.stop)
        for left in reversed(range(BROKER_STARTS)):
            try:
                await asyncio.to_thread(server.start)
                break
            except DidNotStart:  # a Kafka that hangs while it starts is killed and started again, as by who runs one
                self.counts["the broker did not start"] += 1
                if not left:
                    raise

    async def _restart_database(self, *, crashes: bool) -> None:
        await (self._database.crash() if crashes else self._database.stop())
        await asyncio.sleep(self._draw.uniform(*DOWN_S))  # noqa: TID251 - it is down for a while
        await self._database.start()
