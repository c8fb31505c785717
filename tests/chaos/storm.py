"""Workers that are killed, stopped and replaced at random while messages and jobs keep coming, a broker and a database
that are restarted, and networks that are cut: at the end every effect is there exactly once and in order."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.errors import Transient
from contracts.message import Envelope
from migrations import runner
from runtime.wiring import Adapters
from tests.chaos.blows import Blows
from tests.chaos.fleet import Fleet
from tests.chaos.network import Network, networks
from tests.chaos.plan import Plan, Summary
from tests.chaos.verdict import faults_of
from tests.kit import services
from tests.kit.databases import opened
from tests.kit.stream_worker import COUNT, PARTITIONS, TABLES, TOPIC, Order, RunCount, chosen
from tests.kit.waiting import until

T = TypeVar("T")

CUSTOMERS = 20
STEPS = 3
"""Of each job."""
BATCH = 200
"""Messages that are published together."""
LOOK_EVERY_S = 0.25
ANSWER_TIMEOUT_S = 120.0


async def alone(plan: Plan, *, log: Path | None = None) -> Summary:
    """A storm on servers of its own. `log` is where the workers write. Raises nothing for a promise that is broken:
    `faults` tells."""
    places = plan.workers + 1  # one more comes, now and then
    start = partial(services.start_kafka, doors=places)
    if plan.mq != "kafka":
        start = partial(services.start_redis, persistent=True)
    began_at = time.perf_counter()
    with services.own(start) as bus, tempfile.TemporaryDirectory(prefix="millrace-storm-") as directory:
        async with services.own_postgres() as database:
            async with opened(PostgresDb(database.url)) as db:
                await runner.up(db)
                await db.execute(TABLES)
            storm = Storm(plan, bus=bus, database=database, directory=Path(directory))
            async with networks(places, bus=bus, database=database.url) as made:
                effects, faults = await storm.run(made, log=log or Path(directory) / "workers.log")
    seconds = round(time.perf_counter() - began_at, 1)
    blows = dict(sorted(storm.blows.items()))
    return Summary(mq=plan.mq, seed=plan.seed, seconds=seconds, blows=blows, effects=effects, faults=faults)


class Storm:
    """On servers that are up, and a database that has its tables."""

    def __init__(self, plan: Plan, *, bus: services.Running, database: services.OwnPostgres, directory: Path) -> None:
        self._plan = plan
        self._bus = bus
        self._database = database
        self._directory = directory
        self._clock = SystemClock()
        self._prefix = f"s{self._clock.new_id()[-8:]}."
        self._adapters = Adapters(chosen(database.url, directory, mq=plan.mq, server=bus.url))
        self.blows: Counter[str] = Counter()

    async def run(self, networks: list[Network], *, log: Path) -> tuple[dict[str, int], list[str]]:
        """The numbers of effects, and what is wrong with them."""
        fleet = Fleet(self._options, networks, log)
        blows = Blows(self._plan, random.Random(self._plan.seed), fleet=fleet, bus=self._bus, database=self._database)
        self.blows = blows.counts
        for name in ("db", "ledger"):
            await self._adapters.open(name)
        db = self._adapters.db
        try:
            for _ in range(self._plan.workers):
                await fleet.start()
            await until(self._all_is_held, timeout_s=120, what="workers that hold every partition")
            turns = asyncio.Semaphore(1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(turns, len(blows.kinds) + 1))
                group.create_task(blows.fall(turns.release))
            late = await self._settled(fleet)
            await fleet.end()
            faults = [*late, *fleet.faults, *await faults_of(db, left=fleet.left)]
            rows = await db.fetch("select kind, count(*) as rows from effects group by kind order by kind")
        finally:
            fleet.kill()
            await self._adapters.close()
        return {row["kind"]: row["rows"] for row in rows}, faults

    def _options(self, network: Network) -> list[str]:
        return [
            *("--url", network.database.url, "--mq", self._plan.mq, "--server", network.bus.url),
            *("--directory", str(self._directory), "--prefix", self._prefix),
            *("--takes-s", str(self._plan.takes_s), "--for-s", "86400"),
        ]

    async def _all_is_held(self) -> bool:
        return len(await self._adapters.ledger.partitions.holdings()) >= 2 * PARTITIONS

    async def _publish(self, turns: asyncio.Semaphore, count: int) -> None:
        """An equal share in each turn, so that messages come as long as blows fall. Workers relay them: it is what a
        service does that publishes with its own effects. One that gets no answer tries again, under the same ids."""
        envelopes = self._envelopes()
        share = -(-(self._plan.messages + self._plan.jobs) // count)
        for _ in range(count):
            await turns.acquire()
            turn = list(islice(envelopes, share))
            for at in range(0, len(turn), BATCH):
                batch = turn[at : at + BATCH]
                await _answered(partial(self._adapters.ledger.outbox.add, batch, tx=None))

    def _envelopes(self) -> Iterator[Envelope]:
        """Numbers of each customer rise."""
        messages, jobs = self._plan.messages, self._plan.jobs
        for at in range(messages):
            customer = f"c{at % CUSTOMERS}"
            yield self._envelope(TOPIC, Order(customer=customer, number=at // CUSTOMERS), customer)
            for job in range(at * jobs // messages, (at + 1) * jobs // messages):
                yield self._envelope(COUNT, RunCount(name=f"job-{job}", upto=STEPS), None)

    def _envelope(self, address: str, message: msgspec.Struct, key: str | None) -> Envelope:
        return Envelope(
            id=self._clock.new_id(),
            address=f"{self._prefix}{address}",
            body=msgspec.json.encode(message),
            key=key,
            correlation_id=self._clock.new_id(),
            published_at=self._clock.now(),
        )

    async def _settled(self, fleet: Fleet) -> list[str]:
        """Returns when all effects are there, or no more come."""
        wanted, there = 2 * self._plan.messages + STEPS * self._plan.jobs, -1
        moved_at = self._clock.monotonic()
        while there < wanted:
            await asyncio.sleep(LOOK_EVERY_S)  # noqa: TID251 - workers give no signal to this process
            self.blows["could not start"] += await fleet.revive()
            before, there = (
                there,
                await _answered(lambda: self._adapters.db.fetch_value("select count(*) from effects")),
            )
            now = self._clock.monotonic()
            moved_at = now if there != before else moved_at
            if now - moved_at > self._plan.settle_s:
                return [f"{there} of {wanted} effects were there, and for {self._plan.settle_s:g} s none was added"]
        return []


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Asked again while the database is down."""
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while True:
            try:
                return await ask()
            except Transient:
                await asyncio.sleep(LOOK_EVERY_S)  # noqa: TID251 - it comes back without telling us
