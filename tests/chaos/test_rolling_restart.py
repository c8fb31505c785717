"""Four workers are replaced, one after the other, while messages come: none is lost, and none whose handler came to its
end is handled again, also on a route that is only at-least-once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.message import Envelope
from runtime import exits
from runtime.wiring import Adapters
from tests.kit import services
from tests.kit.stream_worker import PLAIN, TABLES, TOPIC, Order, chosen
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.usefixtures("unwatched")]

WORKERS, CUSTOMERS = 4, 24
TAKES_S = 0.05
"""Far less than `MQ_REVOKE_WAIT_S`."""
AHEAD = 10
"""Orders of a customer that are under way: there is always work, and never more than workers of any speed can do."""
ROUTES = 3


class Shop:
    """Publishes orders of all customers, each with a number that rises, until it is closed."""

    def __init__(self, adapters: Adapters, prefix: str) -> None:
        self._adapters = adapters
        self._prefix = prefix
        self._clock = SystemClock()
        self._closed = False
        self.numbers = 0

    def close(self) -> None:
        self._closed = True

    async def run(self) -> None:
        for number in count():
            await until(self._is_due, timeout_s=120, what=f"the end of what was published before order {number}")
            if self._closed:
                return
            for address in (TOPIC, PLAIN):
                orders = [Order(customer=f"c{n}", number=number) for n in range(CUSTOMERS)]
                await self._adapters.bus.publish(*(self._envelope(address, order) for order in orders))
            self.numbers = number + 1

    async def _is_due(self) -> bool:
        runs: int = await self._adapters.db.fetch_value("select count(*) from runs")
        return self._closed or runs > ROUTES * CUSTOMERS * (self.numbers - AHEAD)

    def _envelope(self, address: str, order: Order) -> Envelope:
        return Envelope(
            id=self._clock.new_id(),
            address=f"{self._prefix}{address}",
            body=msgspec.json.encode(order),
            key=order.customer,
            correlation_id=self._clock.new_id(),
            published_at=self._clock.now(),
        )


class Workers:
    """Processes that hold a share of the partitions each, once they are started."""

    def __init__(self, command: list[str], db: PostgresDb, log: Path) -> None:
        self._command = command
        self._db = db
        self._log = log.open("ab")
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE, stderr=self._log)
        self.processes.append(process)

        async def holds_some() -> bool:
            return bool(
                await self._db.fetch_value(
                    "select count(*) from millrace.partitions p join millrace.workers w on w.id = p.worker_id"
                    " where w.pid = $1",
                    process.pid,
                )
            )

        await until(holds_some, timeout_s=120, what="a share of the new worker")

    async def end_first(self) -> int:
        """As in a rolling restart: its exit code."""
        process = self.processes.pop(0)
        process.send_signal(signal.SIGTERM)
        return await process.wait()

    def kill(self) -> None:
        """Whoever is left: a clean-up."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
        self._log.close()


@pytest.fixture(params=["kafka", "redis-stream"])
def bus(request: pytest.FixtureRequest) -> tuple[str, services.Running]:
    return request.param, request.getfixturevalue("kafka" if request.param == "kafka" else "redis_server")


@asynccontextmanager
async def publisher(database_url: str, directory: Path, *, mq: str, server: str) -> AsyncIterator[Adapters]:
    adapters = Adapters(chosen(database_url, directory, mq=mq, server=server))
    try:
        for name in ("db", "ledger", "bus"):
            await adapters.open(name)
        yield adapters
    finally:
        await adapters.close()


async def test_nothing_is_lost_and_nothing_that_was_finished_is_done_again(
    bus: tuple[str, services.Running], db: PostgresDb, database_url: str, tmp_path: Path
) -> None:
    mq, server = bus
    await db.execute(TABLES)
    prefix = f"t{SystemClock().new_id()[-8:]}."
    command = [sys.executable, "-m", "tests.kit.stream_worker", "--url", database_url, "--mq", mq, "--count-runs"]
    command += ["--server", server.url, "--directory", str(tmp_path), "--prefix", prefix, "--for-s", "3600"]
    command += ["--takes-s", str(TAKES_S), "--patient"]
    workers = Workers(command, db, tmp_path / "workers.log")
    try:
        for _ in range(WORKERS):
            await workers.start()
        async with publisher(database_url, tmp_path, mq=mq, server=server.url) as adapters:
            shop = Shop(adapters, prefix)
            async with asyncio.TaskGroup() as group:
                group.create_task(shop.run())
                ends = []
                for _ in range(WORKERS):
                    ends.append(await workers.end_first())
                    await workers.start()
                shop.close()
        wanted = CUSTOMERS * shop.numbers

        async def all_there() -> bool:
            return bool(
                await db.fetch_value(
                    "select (select count(*) from effects) >= 2 * $1::int"
                    " and (select count(*) from runs where kind = 'plain') >= $1::int",
                    wanted,
                )
            )

        await until(all_there, timeout_s=120, what="the end of all messages")
        ends += [await workers.end_first() for _ in range(WORKERS)]
    finally:
        workers.kill()
    assert ends == [exits.DONE] * 2 * WORKERS, (tmp_path / "workers.log").read_text()[-4000:]
    rows = await db.fetch("select kind, name, array_agg(number order by at) as numbers from effects group by 1, 2")
    in_order = {(kind, f"c{n}"): list(range(shop.numbers)) for kind in ("taken", "seen") for n in range(CUSTOMERS)}
    assert {(row["kind"], row["name"]): list(row["numbers"]) for row in rows} == in_order
    again = await db.fetch("select kind, name, number, count(*) from runs group by 1, 2, 3 having count(*) > 1")
    assert again == []
    per_route = await db.fetch("select kind, count(*) as runs from runs group by 1 order by 1")
    assert per_route == [{"kind": kind, "runs": wanted} for kind in ("plain", "seen", "taken")]
