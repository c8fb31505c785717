"""The module in the worker that ships: from the bus through its windows into the table, and out again as messages."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.bus.memory.log import MemoryLog
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts import metrics as metric
from contracts.aggregation import Aggregation, Measure, Results, Session, Tumbling
from contracts.errors import Faults
from contracts.metric_aggregator import LateEvent, WindowResult
from modules.metric_aggregator import module
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import HarnessBus, Running, harness
from tests.modules.windows_kit import READING, T0, aggregation, reading

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

MINUTE = Tumbling(size_s=60)
TO = Results(table="metrics.results", address="readings.minutes", late_address="readings.late")


def running(db: PostgresDb, declared: Aggregation, log: MemoryLog | None = None) -> Any:
    bus = HarnessBus(SystemClock(), log) if log else None
    return harness(module, db=db, catalog=DeclaredCatalog(READING, declared), bus=bus)


async def take(to: Running, *events: Any, key: str | None = None) -> None:
    """And wait until they are in their windows."""
    for event in events:
        await to.publish("readings", event, key=key or event.sensor)
    await to.settled()


async def rows(db: PostgresDb, *columns: str) -> list[tuple[Any, ...]]:
    found = await db.fetch(f"select {', '.join(columns)} from metrics.results order by sensor, window_start")  # noqa: S608
    return [tuple(row.values()) for row in found]


def told(by: Running) -> list[tuple[float, int, bool, bool]]:
    """Of what was published: seconds of the start, revision, closed, retracted."""
    results = by.emitted("readings.minutes", WindowResult)
    return [((one.window_start - T0).total_seconds(), one.revision, one.closed, one.retracted) for one in results]


async def test_a_window_is_in_the_table_once_it_closes_and_is_corrected_there(db: PostgresDb) -> None:
    async with running(db, aggregation(MINUTE, to=TO, lateness_s=120)) as worker:
        await take(worker, reading(0), reading(59), reading(30, "b"))
        assert await rows(db, "sensor") == []
        await take(worker, reading(61))
        assert await rows(db, "sensor", "readings", "value_sum", "events", "closed", "revision") == [
            ("a", 2, Decimal("3.00"), 2, True, 0)
        ]
        await take(worker, reading(30, value="0.25"))
        assert await rows(db, "readings", "value_sum", "revision") == [(3, Decimal("3.25"), 1)]
        assert told(worker) == [(0, 0, True, False), (0, 1, True, False)]
        await take(worker, reading(300))
        await take(worker, reading(10, value="9.00"))
        assert [row[:2] for row in await rows(db, "readings", "revision")] == [(3, 1), (1, 0)]
        [late] = worker.emitted("readings.late", LateEvent)
        assert (late.reason, late.event["value"], late.watermark_at) == ("late", "9.00", T0 + timedelta(minutes=5))
        assert await worker.dead_letters() == []


async def test_a_quiet_partition_closes_its_windows(db: PostgresDb) -> None:
    async with running(db, aggregation(Tumbling(size_s=1), to=TO, idle_s=0.1)) as worker:
        await take(worker, reading(0))

        async def closed() -> bool:
            return await rows(db, "closed") == [(True,)]

        await worker.until(closed, what="the end of a window in which nothing more came")


async def test_who_holds_the_partition_next_goes_on_with_its_windows(db: PostgresDb) -> None:
    log, declared = MemoryLog(SystemClock()), aggregation(MINUTE, to=TO)
    async with running(db, declared, log) as worker:
        await take(worker, reading(0), reading(1), reading(2, "b"))
    async with running(db, declared, log) as worker:
        await take(worker, reading(3), reading(60), reading(60, "b"))
        assert await rows(db, "sensor", "readings") == [("a", 3), ("b", 1)]


async def test_a_window_that_two_partitions_have_is_left_to_the_first_and_the_other_waits(db: PostgresDb) -> None:
    async with running(db, aggregation(MINUTE, to=TO)) as worker:
        await take(worker, reading(0), reading(60), key="one")
        before = await rows(db, "readings", "partition")
        # The key of the message is not that of the event, so that it lies in another partition.
        for number in range(8):
            for at in (0, 60):
                await worker.publish("readings", reading(at), key=f"other {number}")
        await worker.until(lambda: worker.metrics.value(metric.BLOCKED, address="readings") > 0, what="a refusal")
        assert await rows(db, "readings", "partition") == before
        assert await worker.dead_letters() == []
        said = [line["context"]["error"] for line in worker.lines() if line["message"] == "blocked"]
        assert said
        assert all("the topic is not keyed by sensor" in one for one in said)


async def test_a_session_that_begins_earlier_leaves_no_row_behind(db: PostgresDb) -> None:
    to = msgspec.structs.replace(TO, changes=True)
    async with running(db, aggregation(Session(gap_s=10), to=to, lateness_s=60)) as worker:
        await take(worker, reading(100), reading(105))
        await take(worker, reading(92))
        assert await rows(db, "window_start", "readings") == [(T0 + timedelta(seconds=92), 3)]
        assert [(start, retracted) for start, _, _, retracted in told(worker)] == [
            (100, False),
            (100, True),
            (92, False),
        ]


async def test_every_measure_has_its_column(db: PostgresDb) -> None:
    kinds = ("count", "sum", "avg", "min", "max", "distinct", "quantile")
    measures = [
        Measure(name=f"{kind}_{of}", kind=kind, of=of, q=0.5 if kind == "quantile" else None)  # type: ignore[arg-type]
        for kind in kinds
        for of in ("value", "level", "count")
    ]
    measures.append(Measure(name="latest", kind="max", of="at"))
    async with running(db, aggregation(MINUTE, measures=measures, to=TO)) as worker:
        some = [reading(number, value=f"{number}.50", level=number / 4, count=number) for number in range(1, 6)]
        await take(worker, *some, reading(30, value=None, level=None), reading(60))
    [row] = await db.fetch("select * from metrics.results")
    assert (row["count_value"], row["count_count"]) == (5, 6)
    assert (row["sum_value"], row["sum_level"], row["sum_count"]) == (Decimal("17.50"), 3.75, 16)
    assert (row["avg_value"], row["avg_level"]) == (Decimal("3.5"), 0.75)
    assert (row["min_value"], row["max_value"], row["max_level"]) == (Decimal("1.50"), Decimal("5.50"), 1.25)
    assert (row["distinct_value"], row["distinct_count"]) == (5, 5)
    assert row["quantile_level"] == pytest.approx(0.75, abs=0.25)
    assert row["latest"] == T0 + timedelta(seconds=30)


async def test_a_table_that_does_not_fit_keeps_the_worker_from_starting(db: PostgresDb) -> None:
    await db.execute("create schema metrics; create table metrics.results (sensor bigint, needed int not null)")
    with pytest.raises(Faults) as refused:
        async with running(db, aggregation(MINUTE, to=TO)):
            pass
    told_of = "\n".join(refused.value.faults)
    for said in (
        "column sensor is bigint",
        "column window_start is missing",
        "column needed needs a value",
        "no unique",
    ):
        assert said in told_of
