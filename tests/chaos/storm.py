"""Workers that are killed, stopped and replaced at random while messages and jobs keep coming, and a broker that is
restarted: at the end every effect is there exactly once and in order. `python -m tests.chaos.storm --help`.

The seed decides who is hit, by what and when; how the processes run against each other it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from adapters.clock.system import SystemClock
from contracts.message import Envelope
from runtime.wiring import Adapters
from tests.kit import services
from tests.kit.databases import databases_on
from tests.kit.stream_worker import COUNT, TABLES, TOPIC, Order, RunCount, chosen
from tests.kit.waiting import until

CUSTOMERS = 20
STEPS = 3
"""Of each job."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much, how hard, and by which seed."""

    mq: str
    messages: int = 1500
    jobs: int = 20
    workers: int = 3
    blows: int = 10
    restarts: int = 1
    takes_s: float = 0.002
    settle_s: float = 90.0
    seed: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what was found. `faults` is empty when every promise was kept."""

    seed: int
    seconds: float
    blows: dict[str, int]
    effects: dict[str, int]
    faults: list[str]


class Fleet:
    """The worker processes."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self._command = command
        self._log = (directory / "workers.log").open("ab")
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        self.processes.append(
            await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE, stderr=self._log)
        )

    def send(self, number: int, signum: signal.Signals) -> None:
        process = self.processes[number]
        if process.returncode is None:
            process.send_signal(signum)

    async def replace(self, number: int, signum: signal.Signals) -> None:
        """End one in this way, and start another."""
        self.send(number, signum)
        await self.processes.pop(number).wait()
        await self.start()

    async def revive(self) -> int:
        """Start another for each that ended by itself, as whoever runs workers does: one that starts while the broker
        is down says so and ends. Returns how many."""
        ended = [number for number, process in enumerate(self.processes) if process.returncode is not None]
        for number in reversed(ended):
            self.processes.pop(number)
        for _ in ended:
            await self.start()
        return len(ended)

    async def end(self) -> list[int | None]:
        """Ask all to stop, once they have begun; the exit codes of those that live."""
        await self.revive()
        for number, process in enumerate(self.processes):
            self.send(number, signal.SIGCONT)
            assert process.stdout is not None
            await process.stdout.readline()
            self.send(number, signal.SIGTERM)
        for process in self.processes:
            await process.wait()
        self._log.close()
        return [process.returncode for process in self.processes]


async def run(plan: Plan, *, database: str, bus: services.Running) -> Summary:
    """Raises nothing for a promise that is broken: `faults` tells."""
    began_at = time.perf_counter()
    draw = random.Random(plan.seed)
    clock = SystemClock()
    prefix = f"s{clock.new_id()[-8:]}."
    with tempfile.TemporaryDirectory(prefix="millrace-storm-") as place:
        directory = Path(place)
        command = [sys.executable, "-m", "tests.kit.stream_worker", "--url", database, "--mq", plan.mq]
        command += ["--server", bus.url, "--directory", place, "--prefix", prefix]
        command += ["--takes-s", str(plan.takes_s), "--for-s", "3600"]
        fleet, blows = Fleet(command, directory), Counter[str]()
        adapters = Adapters(chosen(database, directory, mq=plan.mq, server=bus.url))
        for name in ("db", "ledger", "bus"):
            await adapters.open(name)
        try:
            await adapters.db.execute(TABLES)
            for _ in range(plan.workers):
                await fleet.start()
            await _until_there_are_holders(adapters, plan)
            async with asyncio.TaskGroup() as group:
                group.create_task(_publish(adapters, plan, prefix, clock))
                group.create_task(_strike(plan, draw, fleet, bus, blows))
            wanted = 2 * plan.messages + STEPS * plan.jobs
            late = await _settled(adapters, wanted, plan.settle_s)
            codes = await fleet.end()
            effects, faults = await _judged(adapters, plan)
        finally:
            for process in fleet.processes:
                if process.returncode is None:
                    process.kill()
            await adapters.close()
        faults += late
        faults += [f"a worker ended with {code}" for code in codes if code not in (0, 3)]
    seconds = round(time.perf_counter() - began_at, 1)
    return Summary(seed=plan.seed, seconds=seconds, blows=dict(blows), effects=effects, faults=faults)


async def _until_there_are_holders(adapters: Adapters, plan: Plan) -> None:
    async def held() -> bool:
        return len(await adapters.ledger.partitions.holdings()) >= 8

    await until(held, timeout_s=60, what="workers that hold partitions")


async def _publish(adapters: Adapters, plan: Plan, prefix: str, clock: SystemClock) -> None:
    """Numbers of each customer rise; a publisher that gets no answer tries again under the same id."""
    numbers: Counter[str] = Counter()
    jobs_every = max(1, plan.messages // max(1, plan.jobs))
    jobs = 0
    for at in range(plan.messages):
        customer = f"c{at % CUSTOMERS}"
        order = Order(customer=customer, number=numbers[customer])
        numbers[customer] += 1
        await _sent(adapters, clock, f"{prefix}{TOPIC}", order, customer)
        if at % jobs_every == 0 and jobs < plan.jobs:
            await _sent(adapters, clock, f"{prefix}{COUNT}", RunCount(name=f"job-{jobs}", upto=STEPS), None)
            jobs += 1


async def _sent(adapters: Adapters, clock: SystemClock, address: str, message: msgspec.Struct, key: str | None) -> None:
    envelope = Envelope(
        id=clock.new_id(),
        address=address,
        body=msgspec.json.encode(message),
        key=key,
        correlation_id=clock.new_id(),
        published_at=clock.now(),
    )
    await adapters.ledger.outbox.add([envelope], tx=None)  # workers relay it: exactly what a service would do


async def _strike(plan: Plan, draw: random.Random, fleet: Fleet, bus: services.Running, blows: Counter[str]) -> None:
    kinds = ["kill"] * 4 + ["stop"] * 3 + ["drain"] * 3
    struck = [draw.choice(kinds) for _ in range(plan.blows)]
    for _ in range(plan.restarts):
        struck.insert(draw.randrange(len(struck) + 1), "restart the broker")
    for kind in struck:
        await asyncio.sleep(draw.uniform(0.2, 1.5))  # noqa: TID251 - blows fall at random
        blows["could not start"] += await fleet.revive()
        victim = draw.randrange(len(fleet.processes))
        blows[kind] += 1
        match kind:
            case "kill":
                await fleet.replace(victim, signal.SIGKILL)
            case "drain":
                await fleet.replace(victim, signal.SIGTERM)
            case "stop":
                fleet.send(victim, signal.SIGSTOP)
                await asyncio.sleep(draw.uniform(0.5, 5.0))  # noqa: TID251 - longer than a session, now and then
                fleet.send(victim, signal.SIGCONT)
            case _:
                await asyncio.to_thread(bus.server.restart)


async def _settled(adapters: Adapters, wanted: int, settle_s: float) -> list[str]:
    async def all_there() -> bool:
        return bool(await adapters.db.fetch_value("select count(*) >= $1 from effects", wanted))

    try:
        await until(all_there, timeout_s=settle_s, what="all effects")
    except AssertionError:
        there = await adapters.db.fetch_value("select count(*) from effects")
        return [f"after {settle_s:g} s {there} of {wanted} effects were there"]
    return []


async def _judged(adapters: Adapters, plan: Plan) -> tuple[dict[str, int], list[str]]:
    db, faults = adapters.db, []
    rows = await db.fetch("select kind, count(*) as rows from effects group by kind order by kind")
    twice = await db.fetch(
        "select kind, name, number, count(*) as times from effects group by 1, 2, 3 having count(*) > 1"
    )
    faults += [f"{row['kind']} {row['name']} {row['number']} is there {row['times']} times" for row in twice[:10]]
    disorder = await db.fetch(
        "select kind, name, number from (select kind, name, number, lag(number) over"
        " (partition by kind, name order by at) as before from effects where kind in ('taken', 'seen')) as one"
        " where number <> coalesce(before + 1, 0) limit 10"
    )
    faults += [f"{row['kind']} {row['name']} {row['number']} is out of order" for row in disorder]
    unfinished = await db.fetch("select id, state, error from millrace.jobs where state <> 'done' limit 10")
    faults += [f"job {row['id']} is {row['state']}: {row['error']}" for row in unfinished]
    letters = await db.fetch("select address, reason, error from millrace.dead_letters limit 10")
    faults += [f"buried: {row['address']}, {row['reason']}: {row['error']}" for row in letters]
    # What a killed worker may have been killed by is suspect until someone has tried it: that outlives a drain.
    held = await db.fetch_value(
        "select count(*) from millrace.partitions p join millrace.workers w on w.id = p.worker_id"
        " where w.lease_until > now()"
    )
    faults += [f"{held} partitions are still held by workers that live"] if held else []
    left = await db.fetch_value("select count(*) from millrace.parked")
    faults += [f"{left} messages are still parked"] if left else []
    return {row["kind"]: row["rows"] for row in rows}, faults


async def alone(plan: Plan) -> Summary:
    """On servers of its own."""
    postgres = services.Postgres()
    running = await asyncio.to_thread(postgres.require)
    start = services.start_kafka if plan.mq == "kafka" else persistent_redis
    try:
        with services.own(start) as bus:
            async with databases_on(running.url) as databases, databases.fresh() as url:
                return await run(plan, database=url, bus=bus)
    finally:
        await asyncio.to_thread(postgres.stop)


def persistent_redis() -> services.Running:
    """Its data survives a restart."""
    return services.start_redis(persistent=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mq", choices=("kafka", "redis-stream"), default="kafka")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--blows", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--settle-s", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    given = parser.parse_args()
    summary = asyncio.run(alone(Plan(**vars(given))))
    print(msgspec.json.format(msgspec.json.encode(summary)).decode())
    raise SystemExit(1 if summary.faults else 0)
