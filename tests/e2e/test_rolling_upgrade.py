"""Two versions of the product, two checkouts, on one ledger and one bus: the new one comes, the old one goes, and
everything that was published meanwhile is there, once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.job import JobState
from contracts.message import Envelope
from contracts.ports.ledger import LetterFilter
from migrations import runner
from runtime import exits
from runtime.wiring import Adapters
from tests.e2e import product
from tests.kit import checkouts, services
from tests.kit.stream_worker import chosen
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.usefixtures("unwatched")]

WAIT_S = 120.0
NEWER = "99.0.0"
CUSTOMERS = 6
AHEAD = 5
"""Orders of a customer that are under way: there is always work, and never more than workers of any speed can do."""

SETTINGS = {"MILLRACE_LOG": "json", "MILLRACE_AUTO_MIGRATE": "false", "MODULES": "shop", "WORKER_LEASE_S": "20"}

TABLE = """
create table effects (
    at bigserial, kind text not null, name text not null, number int not null, by text not null, legacy text not null
)
"""

# Each version writes down which checkout it is that has run: `contracts` is what a module can see of it.
OLD = '''
"""Takes orders and counts, as the version before does."""

from __future__ import annotations

import os

import contracts
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Db

PREFIX = os.environ["SHOP_PREFIX"]
module = Module("shop", kind="service", summary="Takes orders and counts.")


class Order(Contract, frozen=True):
    """An order."""

    customer: str
    number: int


class RunCount(Contract, frozen=True):
    """What to count."""

    name: str
    upto: int = 3


INSERT = "insert into effects (kind, name, number, by, legacy) values ($1, $2, $3, $4, 'x')"


@module.stream(f"{PREFIX}orders", Order, key="customer", partitions=4)
async def take(order: Order, db: Db) -> None:
    """Keep it."""
    await db.execute(INSERT, "taken", order.customer, order.number, contracts.__file__)


@module.job(f"{PREFIX}run.count", RunCount, unique=("name",))
async def count(cmd: RunCount, job: Job, db: Db) -> int:
    """One row for each."""
    for number in range(job.saved(int) or 0, cmd.upto):
        async with db.transaction() as tx:
            await tx.execute(INSERT, "counted", cmd.name, number, contracts.__file__)
            await job.checkpoint(number + 1, tx=tx)
    return cmd.upto
'''

NEW = (
    OLD.replace("the version before", "the new version")
    .replace("    number: int\n", "    number: int\n    note: str | None = None\n")
    .replace("    upto: int = 3\n", '    upto: int = 3\n    label: str = ""\n')
    .replace("by, legacy) values ($1, $2, $3, $4, 'x')", "by, note) values ($1, $2, $3, $4, $5)")
    .replace("order.number, contracts.__file__)", "order.number, contracts.__file__, order.note)")
    .replace("number, contracts.__file__)", "number, contracts.__file__, cmd.label)")
    + '''

class RunTotal(Contract, frozen=True):
    """What to add up."""

    name: str


@module.job(f"{PREFIX}run.total", RunTotal)
async def total(cmd: RunTotal, db: Db) -> None:
    """A job that the version before doesn't know."""
    await db.execute(INSERT, "totalled", cmd.name, 0, contracts.__file__, None)
'''
)


class Version:
    """A checkout that works: its workers, and its command line."""

    def __init__(self, root: Path, directory: Path, settings: Mapping[str, str], database_url: str) -> None:
        self.root = root
        self._home = directory / root.name
        self._home.mkdir()
        self._environ = product.environment(self._home, database_url, PYTHONPATH=str(root), **settings)

    @property
    def file(self) -> str:
        """Where its `contracts` are imported from."""
        return str(self.root / "contracts" / "__init__.py")

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[product.Worker]:
        async with product.worker(self._home, self._environ, timeout_s=WAIT_S) as started:
            yield started

    @contextlib.contextmanager
    def process(self) -> Iterator[product.Process]:
        """The same, of which it is not known whether it will start."""
        with product.started(self._home, self._environ, *_WORKER) as started:
            yield started

    def millrace(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return product.millrace(self._environ, *argv, timeout_s=WAIT_S)


_WORKER = (str(product.BIN / "faststream"), "run", "runtime.app:app")


class Bus:
    """What producers send, from a process of neither version; `sent` is what must be there at the end."""

    def __init__(self, adapters: Adapters, prefix: str) -> None:
        self._adapters = adapters
        self._prefix = prefix
        self._clock = SystemClock()
        self.sent: dict[str, list[tuple[int, str | None]]] = {}
        self.jobs: list[str] = []
        self.closed = False

    async def order(self, customer: str, **more: Any) -> None:
        numbers = self.sent.setdefault(customer, [])
        body = {"customer": customer, "number": len(numbers), **more}
        numbers.append((len(numbers), more.get("note")))
        await self._publish("orders", body, customer)

    async def job(self, address: str, **body: Any) -> None:
        self.jobs.append(await self._publish(address, body, None))

    async def run(self) -> None:
        """Orders as the old version takes them, and counts, until it is closed."""
        for number in count():
            await until(self._is_due, timeout_s=WAIT_S, what=f"the end of what was sent before round {number}")
            if self.closed:
                return
            for n in range(CUSTOMERS):
                await self.order(f"c{n}")
            await self.job("run.count", name=f"old-{number}")

    async def _is_due(self) -> bool:
        there = "select count(*) from effects where kind = 'taken' and name like 'c%'"
        taken: int = await self._adapters.db.fetch_value(there)
        return self.closed or taken > CUSTOMERS * (len(self.sent.get("c0", ())) - AHEAD)

    async def _publish(self, address: str, body: Mapping[str, Any], key: str | None) -> str:
        envelope = Envelope(
            id=self._clock.new_id(),
            address=f"{self._prefix}{address}",
            body=msgspec.json.encode(body),
            key=key,
            correlation_id=self._clock.new_id(),
            published_at=self._clock.now(),
        )
        await self._adapters.bus.publish(envelope)
        return envelope.id


@contextlib.asynccontextmanager
async def publisher(database_url: str, directory: Path, *, mq: str, server: str, prefix: str) -> AsyncIterator[Bus]:
    adapters = Adapters(chosen(database_url, directory, mq=mq, server=server))
    try:
        for name in ("db", "ledger", "bus"):
            await adapters.open(name)
        yield Bus(adapters, prefix)
    finally:
        await adapters.close()


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[Any]:
    adapters = Adapters(chosen(database_url, tmp_path, mq="redis-stream", server="redis://127.0.0.1:1"))
    try:
        await adapters.open("db")
        await adapters.open("ledger")
        yield adapters.ledger
    finally:
        await adapters.close()


class Checkouts(msgspec.Struct, frozen=True):
    """Of one repository: the new one has a command more, a field more in two contracts, and two migrations."""

    old: Path
    new: Path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Checkouts:
    place = tmp_path_factory.mktemp("checkouts")
    old, new = checkouts.checkout(place / "old"), checkouts.checkout(place / "new")
    checkouts.add_module(old, "shop", OLD)
    checkouts.add_module(new, "shop", NEW)
    checkouts.bump(new, NEWER)
    number = runner.newest()
    checkouts.add_migration(
        new,
        f"{number + 1:04}_notes",
        up="alter table effects add column note text, alter column legacy drop not null",
        down="alter table effects drop column note",
    )
    checkouts.add_migration(
        new,
        f"{number + 2:04}_no_legacy.after",
        up="alter table effects drop column legacy",
        down="alter table effects add column legacy text",
    )
    return Checkouts(old, new)


@pytest.fixture(params=["kafka", "redis-stream"])
def bus(request: pytest.FixtureRequest) -> tuple[str, services.Running]:
    return request.param, request.getfixturevalue("kafka" if request.param == "kafka" else "redis_server")


async def test_the_new_version_comes_and_the_old_one_goes(
    bus: tuple[str, services.Running],
    sources: Checkouts,
    db: PostgresDb,
    ledger: Any,
    database_url: str,
    tmp_path: Path,
) -> None:
    mq, server = bus
    prefix = f"t{SystemClock().new_id()[-8:]}."
    settings = {
        **SETTINGS,
        "MILLRACE_MQ": mq,
        "MQ_KAFKA_BOOTSTRAP_SERVERS" if mq == "kafka" else "MQ_REDIS_STREAM_URL": server.url,
        "SHOP_PREFIX": prefix,
    }
    await db.execute(TABLE)
    old = Version(sources.old, tmp_path, settings, database_url)
    new = Version(sources.new, tmp_path, settings, database_url)
    async with contextlib.AsyncExitStack() as stack:
        before = [await stack.enter_async_context(old.worker()) for _ in range(2)]
        sent = await stack.enter_async_context(
            publisher(database_url, tmp_path / "publisher", mq=mq, server=server.url, prefix=prefix)
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(sent.run())
            migrated = await asyncio.to_thread(new.millrace, "migrate", "up", "--phase", "before", "--output", "json")
            assert [one["name"] for one in msgspec.json.decode(migrated.stdout)] == ["notes"], migrated.stderr
            after = await stack.enter_async_context(new.worker())

            # From here on what only the new version can read is under way, while the old one has its partitions still.
            for number in range(8):
                for n in range(4):
                    await sent.order(f"n{n}", **({"note": f"note {number}"} if number % 2 else {}))
                await sent.job("run.total", name=f"total-{number}")
                await sent.job("run.count", name=f"new-{number}", label="fresh")
            early_after = await asyncio.to_thread(new.millrace, "migrate", "up", "--phase", "after")
            assert early_after.returncode == exits.FAILED, early_after.stdout
            assert f"{before[0].pid} (version " in early_after.stderr
            assert f"{before[1].pid} (version " in early_after.stderr
            assert f"/{after.pid} " not in early_after.stderr
            shown = await asyncio.to_thread(new.millrace, "workers", "--output", "json")
            versions = {one["pid"]: one["version"] for one in msgspec.json.decode(shown.stdout)["workers"]}
            assert versions[after.pid] == NEWER
            assert NEWER not in (versions[before[0].pid], versions[before[1].pid])
            for worker in before:
                worker.signal(signal.SIGTERM)
                # What waits for the new version is handed back: that is told, and makes it no clean end.
                assert await worker.ended(timeout_s=WAIT_S) in (exits.DONE, exits.CUT), worker.err[-4000:]
                assert set(worker.drain_report()["fates"].values()) <= {"requeued", "finished"}
            sent.closed = True
        wanted = sum(map(len, sent.sent.values()))

        async def all_is_done() -> bool:
            there: int = await db.fetch_value("select count(*) from effects where kind = 'taken'")
            done: int = await db.fetch_value("select count(*) from millrace.jobs where state = 'done'")
            return there >= wanted and done >= len(sent.jobs)

        await until(all_is_done, timeout_s=WAIT_S, what="the end of all that was sent")
        migrated = await asyncio.to_thread(new.millrace, "migrate", "up", "--phase", "after", "--output", "json")
        assert [one["name"] for one in msgspec.json.decode(migrated.stdout)] == ["no_legacy"], migrated.stderr
        after.signal(signal.SIGTERM)
        assert await after.ended(timeout_s=WAIT_S) == exits.DONE

    assert await ledger.dead_letters.list(LetterFilter()) == []
    assert {state for _, state in await ledger.desk.counts()} == {JobState.DONE}
    taken = await db.fetch("select name, number, note from effects where kind = 'taken' order by at")
    found: dict[str, list[tuple[int, str | None]]] = {}
    for row in taken:
        found.setdefault(row["name"], []).append((row["number"], row["note"]))
    assert found == sent.sent
    counted = await db.fetch(
        "select name, array_agg(number order by at) as numbers from effects where kind = 'counted' group by 1"
    )
    assert all(list(row["numbers"]) == [0, 1, 2] for row in counted)
    assert len(counted) == len(sent.jobs) - 8
    by = await db.fetch("select kind, by, count(*) as rows from effects group by 1, 2")
    assert {row["by"] for row in by if row["kind"] == "totalled"} == {new.file}
    assert {row["by"] for row in by if row["kind"] == "taken"} == {old.file, new.file}
    assert await db.fetch_value("select count(*) from effects where kind = 'counted' and note = 'fresh'") == 24


async def test_a_version_that_does_not_fit_the_database_says_so_and_does_not_start(
    sources: Checkouts, db: PostgresDb, database_url: str, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "SHOP_PREFIX": ""}
    await db.execute(TABLE)
    old = Version(sources.old, tmp_path, settings, database_url)
    new = Version(sources.new, tmp_path, settings, database_url)
    with new.process() as early:
        assert await early.ended(timeout_s=WAIT_S) == exits.WRONG, "what it needs is not there yet"
        assert "migrations are pending: notes; run `millrace migrate up`" in early.err
    migrated = await asyncio.to_thread(new.millrace, "migrate", "up", "--output", "json")
    assert [one["phase"] for one in msgspec.json.decode(migrated.stdout)] == ["before", "after"], "nobody lives"
    with old.process() as late:
        assert await late.ended(timeout_s=WAIT_S) == exits.WRONG, "what it needs is gone"
        assert f"no_legacy (applied by millrace {NEWER}) took away what this version needs" in late.err
