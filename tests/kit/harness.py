"""Modules in their natural habitat: the real worker, in this process, on memory adapters or on those that are given.

    async def test_an_order_is_counted() -> None:
        async with harness(orders.module) as running:
            await running.publish("orders.raw", Order(customer_id="c1", amount=3))
            await running.settled()
            assert running.emitted("orders.counted") == [Counted(orders=1)]

    async def test_a_day_is_loaded(db: PostgresDb, tmp_path: Path) -> None:
        async with harness(batch_etl.module, db=db, files=LocalFiles(tmp_path)) as running:
            report = await running.job("run.batch_etl", RunBatchEtl(dataset="trips"))
        assert report.rejected == 0

Everything between the message and the handler is what ships: decoding, injection, lanes, retries, leases, the drain.
Only the ends are exchanged: the bus and the ledger are in memory, unless `db` is given, which has the ledger beside the
module's own tables. On a `ManualClock` time goes on only while the harness waits for something, and straight to the
next instant at which anything happens; with files or a database it must be the system's clock (the default).
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import typing
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.log import MemoryLog
from adapters.clock.manual import ManualClock
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.memory import MemoryLedger
from adapters.ledger.postgres.ledger import PostgresLedger
from adapters.metrics.memory import MemoryMetrics
from contracts.job import JobRow, JobState
from contracts.message import Envelope
from contracts.module import Module
from contracts.ports import Bus, Cache, Catalog, Clock, Database, Db, Files, Ledger, Log
from contracts.ports.ledger import DeadLetter, LetterFilter
from runtime import commands, settings
from runtime.supervisor import DrainReport
from runtime.wiring import Adapters
from runtime.worker import Worker
from tests.kit.waiting import until

T = TypeVar("T", bound=msgspec.Struct)

WAIT_S = 30.0
STEPS = 100_000
"""How often a manual clock is moved on at the most while something is waited for."""


class JobFailed(AssertionError):
    """The job did not end well; `row` has all that is known."""

    def __init__(self, row: JobRow) -> None:
        super().__init__(f"job {row.id} {row.state.value}: {row.error}\n{row.traceback or ''}")
        self.row = row


class HarnessBus(MemoryBus):
    """Remembers everything that is published on it."""

    def __init__(self, clock: Clock, log: MemoryLog | None = None) -> None:
        super().__init__(clock, log)
        self.published: list[Envelope] = []

    async def publish(self, *envelopes: Envelope) -> None:
        await super().publish(*envelopes)
        self.published.extend(envelopes)


class HarnessAdapters(Adapters):
    """The adapters that ship, with those that a test gives in their places."""

    def __init__(self, chosen: settings.Settings, *, clock: Clock, db: Db | None, given: Mapping[str, Any]) -> None:
        self.lines = io.StringIO()
        super().__init__(chosen, log_stream=self.lines)
        self._harness_clock = clock
        self._harness_db = db
        for name, adapter in given.items():
            if adapter is not None:
                self.__dict__[name] = adapter

    @cached_property
    def clock(self) -> Clock:
        return self._harness_clock

    @cached_property
    def metrics(self) -> MemoryMetrics:
        return MemoryMetrics()

    @cached_property
    def bus(self) -> Bus:
        return HarnessBus(self.clock)

    @cached_property
    def ledger(self) -> Ledger:
        if isinstance(self._harness_db, PostgresDb):
            return PostgresLedger(self._harness_db)
        return MemoryLedger(self.clock)

    @cached_property
    def db(self) -> Db:
        if self._harness_db is None:
            raise AssertionError("the module asks for Db: give the harness one, as in `harness(module, db=db)`")
        return self._harness_db

    @cached_property
    def statements(self) -> Database:
        assert isinstance(self.db, PostgresDb), "the module asks for Statements: give the harness a database for it"
        return self.db

    async def open(self, name: str) -> None:
        """The database that a test gives is open already, and its fixture closes it."""
        if name != "db" and getattr(self, name) is not self._harness_db:
            await super().open(name)

    def take_over_logging(self) -> Callable[[], None]:
        return lambda: None


class Running:
    """A worker that runs in this process."""

    def __init__(self, worker: Worker, adapters: HarnessAdapters) -> None:
        self.worker = worker
        self.clock = adapters.clock
        self.ledger = adapters.ledger
        self.bus = adapters.bus
        self.metrics: MemoryMetrics = adapters.metrics
        self._adapters = adapters
        self._report: DrainReport | None = None

    # Jobs.

    async def job(self, address: str, command: msgspec.Struct, **options: Any) -> Any:
        """Run a job to its end; returns what its handler returned. Raises `JobFailed` when it did not end well."""
        row = await self.ended(await self.start(address, command, **options))
        if row.state is not JobState.DONE:
            raise JobFailed(row)
        handler = self.worker.mounted[address].route.handler
        returns = typing.get_type_hints(handler).get("return", Any)
        return None if returns is type(None) else msgspec.convert(row.result, returns)

    async def start(self, address: str, command: msgspec.Struct, **options: Any) -> str:
        """Publish a command and return its job's id once it is recorded; `options` are of `commands.envelope`."""
        contract = self.worker.mounted[address].route.contract
        envelope = commands.envelope(address, command, contract=contract, clock=self.clock, **options)
        await self.worker.submit(envelope)
        return envelope.id

    async def ended(self, job_id: str) -> JobRow:
        """The job once it has ended."""
        return await self.job_is(job_id, lambda row: row.state.final)

    async def job_is(self, job_id: str, condition: Callable[[JobRow], bool]) -> JobRow:
        """The job once `condition` holds for it."""
        found: list[JobRow] = []

        async def holds() -> bool:
            row = await self.ledger.desk.get(job_id)
            found[:] = [row] if row else []
            return row is not None and condition(row)

        await self.until(holds, what=f"what is waited for of job {job_id}")
        return found[0]

    # Streams.

    async def publish(self, address: str, *messages: msgspec.Struct | bytes, **options: Any) -> None:
        """Publish messages in this order; bytes go as they are, so that they can be wrong."""
        for message in messages:
            body = message if isinstance(message, bytes) else msgspec.json.encode(message)
            envelope = Envelope(id=self.clock.new_id(), address=address, body=body, published_at=self.clock.now())
            await self.worker.submit(msgspec.structs.replace(envelope, **options))

    async def settled(self) -> None:
        """Returns when every message that was published for these modules is done with for good: handled and committed,
        or buried; and no job is queued or running."""
        await self.until(self._all_settled, what="the end of all messages and jobs")

    def emitted(self, address: str, contract: type[T]) -> list[T]:
        """What was published for an address, in order."""
        published: list[Envelope] = getattr(self.bus, "published", [])
        return [msgspec.json.decode(one.body, type=contract) for one in published if one.address == address]

    async def dead_letters(self, address: str | None = None) -> list[DeadLetter]:
        return await self.ledger.dead_letters.list(LetterFilter(address=address, limit=1000))

    # The rest.

    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [msgspec.json.decode(line) for line in self._adapters.lines.getvalue().splitlines()]

    async def stop(self) -> DrainReport:
        """Drain as on SIGTERM. Idempotent."""
        if self._report is None:
            self._report = await self._while_time_goes_on(self.worker.stop())
        return self._report

    async def until(self, condition: Callable[[], Any], *, what: str = "the condition") -> None:
        """Returns once `condition` holds; a manual clock goes on meanwhile."""
        if not isinstance(self.clock, ManualClock):
            await until(condition, timeout_s=WAIT_S, what=what)
            return
        for _ in range(STEPS):
            await self.clock.advance(0)
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            await self.clock.advance(self.clock.next_due_s() or 0.001)
        raise AssertionError(f"{what} did not come true, however far the clock was moved")

    async def _all_settled(self) -> bool:
        # What is emitted goes from the bus over the outbox to the bus: so it is looked at in that order.
        return await self._quiet() and await self.ledger.outbox.backlog() == 0 and await self._quiet()

    async def _quiet(self) -> bool:
        await self.worker.streams.commit()
        if any(not state.final and count for (_, state), count in (await self.ledger.desk.counts()).items()):
            return False
        if any(held.parked for held in await self.ledger.partitions.holdings()):
            return False
        log = getattr(self.bus, "log", None)
        return log is None or not any(log.stats(address).messages for address in self.worker.mounted)

    async def _while_time_goes_on(self, work: Any) -> Any:
        running = self.worker.tasks.start(work, name="harness")
        await self.until(running.done, what="the end of the drain")
        return running.result()


@asynccontextmanager
async def harness(
    *modules: Module,
    clock: Clock | None = None,
    db: Db | None = None,
    statements: Database | None = None,
    files: Files | None = None,
    cache: Cache | None = None,
    catalog: Catalog | None = None,
    log: Log | None = None,
    bus: Bus | None = None,
    ledger: Ledger | None = None,
    secrets: Mapping[str, str] | None = None,
    **chosen: Any,
) -> AsyncIterator[Running]:
    """A worker of these modules, started; it is drained when the block ends. `statements` go to another database than
    `db`, which is opened and closed here. `secrets` are what the module's `Secrets` finds; `chosen` are settings by
    name, such as `job_slots=1`."""
    with tempfile.TemporaryDirectory(prefix="millrace-harness-") as directory:
        environ = {"MILLRACE_HOME": str(Path(directory) / "home"), "MILLRACE_LOG": "json", **(secrets or {})}
        loaded = settings.load(overrides=chosen, environ=environ, directory=Path(directory))
        given = {
            "statements": statements,
            "files": files,
            "cache": cache,
            "catalog": catalog,
            "log": log,
            "bus": bus,
            "ledger": ledger,
        }
        adapters = HarnessAdapters(loaded, clock=clock or SystemClock(), db=db, given=given)
        worker = Worker(loaded, modules, adapters=adapters)
        await worker.start()
        running = Running(worker, adapters)
        try:
            yield running
        finally:
            await running.stop()
