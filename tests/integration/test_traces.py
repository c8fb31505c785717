"""One trace through everything that a message sets off: over the three buses, through handlers, SQL, files, and the
messages that they emit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import cast

import pytest

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.memory.bus import MemoryBus
from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.traces.otlp import OtlpTraces
from contracts.errors import Transient
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from contracts.ports import Bus, Db, Emit, Files, Log
from tests.integration import http_site
from tests.kit.collector import Collected, Collector, collecting
from tests.kit.databases import LIMITS, opened
from tests.kit.harness import harness
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

COUNT = 3


class Order(Contract, frozen=True):
    number: int


class RunOrder(Contract, frozen=True):
    number: int


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    with collecting() as made:
        yield made


@pytest.fixture
async def traced_db(database_url: str, collector: Collector) -> AsyncIterator[PostgresDb]:
    traces = OtlpTraces(collector.url, clock=SystemClock())
    await traces.open()
    async with opened(PostgresDb(database_url, limits=LIMITS, traces=traces)) as db:
        yield db
    await traces.close()


@pytest.fixture(params=["kafka", "redis-stream", "memory"])
def bus(request: pytest.FixtureRequest, traced_db: PostgresDb) -> Bus:
    """A new one."""

    async def ledger_id() -> str:
        return str(await traced_db.fetch_value("select id from millrace.ledger"))

    if request.param == "memory":
        return MemoryBus(SystemClock())
    if request.param == "kafka":
        return KafkaBus(request.getfixturevalue("kafka").url, clock=SystemClock(), ledger_id=ledger_id)
    return RedisStreamBus(request.getfixturevalue("redis_server").url, clock=SystemClock(), ledger_id=ledger_id)


def orders(topic: str) -> Module:
    """A message, which emits one for a batch; and a job, which emits the message once it is tried again."""
    module = Module("orders", kind="worker", summary="For the tests of traces.")

    @module.stream(topic, Order)
    async def take(order: Order, db: Db, emit: Emit, log: Log) -> None:
        await db.execute("insert into taken values ($1)", order.number)
        log.info("taken", number=order.number)
        await emit(f"{topic}.taken", order)

    @module.stream(f"{topic}.taken", Order, partitions=1, batch=Batch(rows=COUNT, wait_s=5.0))
    async def count(batch: Sequence[Order], db: Db) -> None:
        await db.execute("insert into counted values ($1)", len(batch))

    @module.job("run.order", RunOrder, retry=Retry(attempts=2, first_s=0.01))
    async def run(cmd: RunOrder, job: Job, emit: Emit) -> None:
        if job.attempt == 1:
            raise Transient("not yet")
        await emit(topic, Order(number=cmd.number))

    return module


async def test_one_trace_leads_from_what_is_published_to_all_that_follows(
    bus: Bus, traced_db: PostgresDb, collector: Collector
) -> None:
    await traced_db.execute("create table taken (number int)")
    await traced_db.execute("create table counted (number int)")
    topic = f"orders.t{SystemClock().new_id()[-10:]}"
    async with harness(
        orders(topic), db=traced_db, bus=bus, traces="otlp", traces_otlp_endpoint=collector.url
    ) as running:
        await running.publish(topic, *[Order(number=number) for number in range(COUNT - 1)])
        await running.ended(await running.start("run.order", RunOrder(number=9)))

        async def counted() -> bool:
            return bool(await traced_db.fetch_value("select sum(number) from counted") == COUNT)

        await until(counted, timeout_s=20, what="the batch")
        lines = running.lines()

    def inserts() -> int:
        return sum(span.about.get("db.query.text", "").startswith("insert into counted") for span in collector.spans)

    await until(lambda: inserts() == len(collector.named(f"process {topic}.taken")) > 0, timeout_s=20, what="all spans")
    published, taken = collector.named(f"publish {topic}"), collector.named(f"process {topic}")
    assert len(published) == COUNT - 1
    assert len(taken) == COUNT
    for root in published:
        [process] = collector.within(root)
        assert process.trace_id == root.trace_id
        inserted = [span for span in collector.within(process) if span.name == "postgresql execute"]
        assert any(span.about["db.query.text"] == "insert into taken values ($1)" for span in inserted)

    [commanded], [first, second] = collector.named("publish run.order"), collector.named("process run.order")
    assert {first.parent_id, second.parent_id} == {commanded.span_id}, (
        "a run that is tried again goes on with its trace"
    )
    assert (first.failed is None, second.failed is None) in ((True, False), (False, True))
    assert {span.parent_id for span in taken} == {*(span.span_id for span in published), _done(first, second).span_id}

    batches = collector.named(f"process {topic}.taken")
    assert sum(len(batch.links) or 1 for batch in batches) == COUNT
    assert {link for batch in batches for link in batch.links or (batch.parent_id,)} == {span.span_id for span in taken}

    told = {line["trace_id"] for line in lines if line["message"] == "taken"}
    assert told == {span.trace_id for span in taken}


def _done(*runs: Collected) -> Collected:
    return next(run for run in runs if run.failed is None)


async def test_files_are_part_of_the_trace(collector: Collector, tmp_path: Path) -> None:
    """Of whoever reads and writes them, with what went through; of a stream that is left early, what came of it."""
    module = Module("copying", kind="job", summary="For the tests of traces.")
    size, part = 3000, 1000

    @module.job("run.order", RunOrder)
    async def copy(cmd: RunOrder, files: Files) -> None:
        await files.write("a.csv", files.stream("in.csv", chunk_bytes=part))
        async with aclosing(cast(AsyncGenerator[bytes, None], files.stream("a.csv", chunk_bytes=part))) as left_early:
            await anext(left_early)
        await files.read("a.csv", offset=5, size_bytes=7)
        assert [info.path async for info in files.list("a")] == ["a.csv"]
        await files.delete_many(["a.csv", "b.csv"])
        with suppress(FileNotFoundError):
            await files.stat("a.csv")

    (tmp_path / "in.csv").write_bytes(b"x" * size)
    async with harness(
        module, traces="otlp", traces_otlp_endpoint=collector.url, fs_local_root=str(tmp_path)
    ) as running:
        await running.job("run.order", RunOrder(number=1))

    [process] = collector.named("process run.order")
    told = [
        (span.name, span.about["file.path"], span.about.get("millrace.files.bytes"), span.failed)
        for span in collector.within(process)
    ]
    assert told == [
        ("files stream", "in.csv", str(size), None),
        ("files write", "a.csv", str(size), None),
        ("files stream", "a.csv", str(part), None),
        ("files read", "a.csv", "7", None),
        ("files list", "a", None, None),
        ("files delete", "", None, None),
        ("files stat", "a.csv", None, "FileNotFoundError"),
    ]
    assert {span.about["millrace.files"] for span in collector.within(process)} == {"local"}


async def test_a_request_goes_on_with_the_trace_of_who_asks(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    asks = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with http_site.running(
        database_url, tmp_path, MILLRACE_TRACES="otlp", TRACES_OTLP_ENDPOINT=collector.url
    ) as site:
        answer = await site.post("/commands/run.echo", json={"text": "hello"}, headers=asks)
        await site.ended(answer.json()["job_id"])
        assert (await site.get("/health/live")).status_code == 200
        assert (await site.get("/nowhere")).status_code == 404
    [request] = collector.named("POST /commands/{address}")
    assert (request.trace_id, request.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert request.about["http.response.status_code"] == "202"
    [published] = [span for span in collector.within(request) if span.name == "publish run.echo"]
    [process] = [span for span in collector.within(published) if span.name == "process run.echo"]
    assert process.about["millrace.outcome"] == "done"
    assert not [span for span in collector.spans if "/health" in span.name]
