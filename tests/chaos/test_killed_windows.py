"""Windows over the taxi trips, shuffled and each sent twice, by three workers of which some are killed, drained and
replaced all the time: they equal the answers that other tools computed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres.ledger import PostgresLedger
from contracts.message import Envelope
from contracts.ports import Ledger
from runtime.wiring import Adapters
from tests.kit import services, taxi_windows
from tests.kit.stream_worker import chosen
from tests.kit.waiting import until
from tests.kit.windows_worker import NAME, PARTITIONS

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(300), pytest.mark.usefixtures("unwatched")]

WORKERS, BLOWS = 3, 8


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
async def test_windows_are_exact_though_workers_die_and_partitions_move(
    mq: str,
    db: PostgresDb,
    database_url: str,
    tmp_path: Path,
    reference_data: Path,
    request: pytest.FixtureRequest,
) -> None:
    server: services.Running = request.getfixturevalue("kafka" if mq == "kafka" else "redis_server")
    clock, chance = SystemClock(), random.Random(11)
    topic = f"t{clock.new_id()[-8:]}.trips"
    told = ["--url", database_url, "--mq", mq, "--server", server.url, "--topic", topic]
    command = [sys.executable, "-m", "tests.kit.windows_worker", *told]
    command += ["--directory", str(tmp_path), "--reference", str(reference_data)]
    trips = [
        Envelope(id=f"trip-{number}", address=topic, body=body, key=key, published_at=clock.now())
        for number, (key, body) in enumerate(taxi_windows.trips(reference_data))
    ]
    shuffled = chance.sample([*trips, *trips], 2 * len(trips))
    share = -(-len(shuffled) // (BLOWS + 1))
    adapters = Adapters(chosen(database_url, tmp_path, mq=mq, server=server.url))
    ledger = PostgresLedger(db)
    await ledger.open()
    await adapters.open("db")
    await adapters.open("ledger")
    with fleet(command, tmp_path) as workers:
        try:
            for _ in range(WORKERS):
                workers.start()
            await until(lambda: all_held(ledger, topic), timeout_s=60, what="workers that hold every partition")
            await adapters.open("bus")
            counted = 0
            for at in range(0, len(shuffled), share):
                await adapters.bus.publish(*shuffled[at : at + share])
                before = counted

                async def goes_on(above: int = before) -> bool:
                    return await in_windows(db) > above

                await until(goes_on, timeout_s=60, what="progress")
                counted = await in_windows(db)
                if at + share < len(shuffled):
                    workers.strike(chance)
            await until(lambda: all_handled(ledger, db, topic, len(trips)), timeout_s=120, what="the end of all trips")
            assert workers.end() == [0] * WORKERS
        finally:
            await adapters.close()
            await ledger.close()
    assert await db.fetch_value("select count(*) from millrace.dead_letters") == 0
    answer = taxi_windows.expected(taxi_windows.answers(reference_data)[NAME])
    assert taxi_windows.differences(await taxi_windows.found(db, NAME), answer) == []


class Workers:
    """Processes, of which there are as many at the end as were started."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.running.append(subprocess.Popen(self._command, stdout=log, stderr=log))

    def strike(self, chance: random.Random) -> None:
        """One is killed, or drained, and another one comes: partitions move twice."""
        victim = self.running.pop(chance.randrange(len(self.running)))
        kind = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        victim.send_signal(kind)
        assert victim.wait(timeout=60) == (0 if kind is signal.SIGTERM else -signal.SIGKILL)
        self.start()

    def end(self) -> list[int]:
        """Drain all; their exit codes."""
        for worker in self.running:
            worker.send_signal(signal.SIGTERM)
        return [worker.wait(timeout=60) for worker in self.running]


@contextmanager
def fleet(command: list[str], directory: Path) -> Iterator[Workers]:
    """Whoever lives at the end is killed."""
    workers = Workers(command, directory / "workers.log")
    try:
        yield workers
    finally:
        for worker in workers.running:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


async def all_held(ledger: Ledger, topic: str) -> bool:
    held = [one for one in await ledger.partitions.holdings() if one.partition.address == topic and one.worker_id]
    return len(held) >= PARTITIONS


async def all_handled(ledger: Ledger, db: PostgresDb, topic: str, trips: int) -> bool:
    """Also those that came twice: no partition has anything left."""
    held = [one for one in await ledger.partitions.holdings() if one.partition.address == topic]
    return all(one.worker_id and not one.lag and not one.open for one in held) and await in_windows(db) == trips


async def in_windows(db: PostgresDb) -> int:
    return int(await db.fetch_value(f'select coalesce(sum(n), 0) from "{NAME}"'))  # noqa: S608 - a name of ours
