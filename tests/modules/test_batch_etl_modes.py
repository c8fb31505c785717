"""Upsert, append and replace; days; dry runs; what is done twice, or cut short and done again."""

from __future__ import annotations

import asyncio
import os
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.database.postgres import PostgresDb
from contracts.batch_etl import RunBatchEtl
from contracts.dataset import Dataset
from contracts.errors import BadInput, LeaseLost
from contracts.ports.database import Guard
from modules.batch_etl.module import forget_expired
from modules.batch_etl.plan import days, filled
from tests.modules.batch_etl_kit import Etl, TestJob, adds_up, declared

pytestmark = pytest.mark.anyio

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int"},
    {"name": "day", "type": "date"},
    {"name": "value", "type": "decimal"},
]


def things(**settings: Any) -> Dataset:
    return declared(COLUMNS, **{"name": "things", "table": "things", "source": "things.csv", "key": ["id"], **settings})


def lines(*rows: tuple[object, ...]) -> str:
    return "id,day,value\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    return Etl(db, tmp_path)


async def table(etl: Etl) -> list[tuple[Any, ...]]:
    return [
        (row[0], str(row[1]), float(row[2]))
        for row in await etl.rows("select id, day, value from things order by 1, 3")
    ]


@pytest.mark.parametrize(
    ("keep", "by", "winner"),
    [("first", None, 5.0), ("last", None, 3.0), ("highest", "value", 9.0), ("lowest", "value", 1.0)],
)
async def test_which_duplicate_wins(etl: Etl, keep: str, by: str | None, winner: float) -> None:
    etl.put("a.csv", lines((1, "2025-01-01", 5), (2, "2025-01-01", 0), (1, "2025-01-02", 1)))
    etl.put("b.csv", lines((1, "2025-01-03", ""), (1, "2025-01-04", 9), (1, "2025-01-05", 1), (1, "2025-01-06", 3)))
    report = await etl.run(things(source="*.csv", duplicates={"keep": keep, "by": by}))
    assert (report.read, report.loaded, report.duplicate) == (7, 2, 5)
    assert (await table(etl))[0][::2] == (1, winner)
    days_of = await etl.rows("select day::text from things where id = 1")
    assert days_of == [
        ({"first": "2025-01-01", "last": "2025-01-06", "highest": "2025-01-04", "lowest": "2025-01-05"}[keep],)
    ]


async def test_append_adds_each_content_once(etl: Etl) -> None:
    dataset = things(mode="append", key=[], source="in/*.csv")
    etl.put("in/a.csv", lines((1, "2025-01-01", 1), (1, "2025-01-01", 1)))
    assert (await etl.run(dataset)).loaded == 2
    etl.put("in/b.csv", lines((2, "2025-01-01", 1)))
    etl.put("in/same-as-a.csv", lines((1, "2025-01-01", 1), (1, "2025-01-01", 1)))
    report = await etl.run(dataset)
    assert (report.read, report.loaded, report.files_read, report.files_skipped) == (1, 1, 1, 2)
    report = await etl.run(dataset, force=True)
    assert (report.read, report.files_skipped) == (0, 3)
    assert len(await table(etl)) == 3


async def test_append_with_a_key_leaves_what_is_there(etl: Etl) -> None:
    dataset = things(mode="append", source="in/*.csv")
    etl.put("in/a.csv", lines((1, "2025-01-01", 1), (2, "2025-01-01", 1)))
    await etl.run(dataset)
    etl.put("in/b.csv", lines((2, "2025-01-02", 2), (3, "2025-01-02", 2), (3, "2025-01-02", 3)))
    report = await etl.run(dataset)
    assert (report.read, report.loaded, report.duplicate) == (3, 1, 2)
    assert await table(etl) == [(1, "2025-01-01", 1.0), (2, "2025-01-01", 1.0), (3, "2025-01-02", 3.0)]


async def test_replace_swaps_the_rows_of_the_day(etl: Etl) -> None:
    dataset = things(mode="replace", source="{date}.csv", partition_by="day", key=["id"])
    etl.put("2025-01-01.csv", lines((1, "2025-01-01", 1), (2, "2025-01-01", 1)))
    etl.put("2025-01-02.csv", lines((3, "2025-01-02", 1), (4, "2025-01-01", 1)))
    report = await etl.run(dataset, from_date=date(2025, 1, 1), to_date=date(2025, 1, 2))
    assert (report.read, report.loaded, report.rejected, report.removed) == (4, 3, 1, 0)
    assert (await etl.quarantine(dataset))[0][2] == [
        "day: '2025-01-01' is not within 2025-01-02, the day that is replaced"
    ]
    etl.put("2025-01-01.csv", lines((2, "2025-01-01", 7), (5, "2025-01-01", 1)))
    report = await etl.run(dataset, date=date(2025, 1, 1))
    assert (report.read, report.loaded, report.removed) == (2, 2, 2)
    assert await table(etl) == [(2, "2025-01-01", 7.0), (3, "2025-01-02", 1.0), (5, "2025-01-01", 1.0)]
    etl.put("2025-01-01.csv", lines((3, "2025-01-01", 7)))
    with pytest.raises(BadInput, match=r"dataset things for 2025-01-01: things refused the rows: duplicate key"):
        await etl.run(dataset, date=date(2025, 1, 1))
    assert len(await table(etl)) == 3


async def test_replace_of_the_whole_table(etl: Etl) -> None:
    dataset = things(mode="replace", key=[])
    etl.put("things.csv", lines((1, "2025-01-01", 1), (1, "2025-01-01", 1)))
    await etl.run(dataset)
    etl.put("things.csv", lines((2, "2025-01-01", 1)))
    report = await etl.run(dataset)
    assert (report.loaded, report.removed) == (1, 2)
    assert await table(etl) == [(2, "2025-01-01", 1.0)]
    assert (await etl.run(dataset)).files_skipped == 1


async def test_replace_by_a_timestamp_takes_the_utc_day(etl: Etl) -> None:
    dataset = declared(
        [{"name": "id", "type": "int"}, {"name": "at", "type": "timestamp"}],
        name="things", table="things", source="things.csv", mode="replace", partition_by="at",
    )  # fmt: skip
    etl.put(
        "things.csv", "id,at\n1,2025-01-01T23:59:59.999999Z\n2,2025-01-02T00:30:00+01:00\n3,2025-01-02T00:00:00Z\n4,\n"
    )
    report = await etl.run(dataset, date=date(2025, 1, 1))
    assert (report.loaded, report.rejected) == (2, 2)
    report = await etl.run(dataset, date=date(2025, 1, 1), force=True)
    assert (report.loaded, report.removed, report.rejected) == (2, 2, 2)


async def test_a_dry_run_counts_and_keeps_nothing(etl: Etl) -> None:
    etl.put("things.csv", lines((1, "2025-01-01", 1), ("x", "", "")))
    report = await etl.run(things(), dry_run=True)
    assert (report.read, report.loaded, report.rejected, report.dry_run) == (2, 1, 1, True)
    assert await etl.rows("select to_regclass('things')::text") == [(None,)]
    assert await etl.rows("select count(*) from millrace.quarantine") == [(0,)]
    await etl.run(things())
    etl.put("things.csv", lines((1, "2025-01-01", 2), (2, "2025-01-01", 1)))
    report = await etl.run(things(), dry_run=True)
    assert (report.loaded, report.updated) == (1, 1)
    assert await table(etl) == [(1, "2025-01-01", 1.0)]


async def test_too_many_rejected_load_nothing_but_are_kept(etl: Etl) -> None:
    etl.put("things.csv", lines((1, "2025-01-01", 1), ("x", "", ""), ("y", "", "")))
    with pytest.raises(BadInput, match=r"more than 1 rows were rejected .*id: not an int \(2\)"):
        await etl.run(things(), max_rejected=1)
    assert await etl.rows("select to_regclass('things')::text") == [(None,)]
    assert len(await etl.quarantine(things())) == 2
    report = await etl.run(things(), max_rejected=2)
    assert (report.loaded, report.rejected) == (1, 2)
    assert len(await etl.quarantine(things())) == 2


async def test_the_same_file_again_is_not_read(etl: Etl) -> None:
    path = etl.put("things.csv", lines((1, "2025-01-01", 1), ("x", "", "")))
    await etl.run(things())
    before = await etl.rows("select xmin::text, ctid::text from things")
    assert (await etl.run(things())).files_skipped == 1
    os.utime(path, ns=(1, 1))  # another version, the same content
    assert (await etl.run(things())).files_skipped == 1
    assert await etl.rows("select xmin::text, ctid::text from things") == before
    assert await etl.rows("select count(*) from millrace.quarantine") == [(1,)]
    report = await etl.run(things(), force=True)
    assert (report.read, report.unchanged, report.rejected) == (2, 1, 1)
    assert await etl.rows("select xmin::text, ctid::text from things") == before
    assert await etl.rows("select count(*) from millrace.quarantine") == [(1,)]


async def test_what_makes_an_unchanged_file_be_read_again(etl: Etl) -> None:
    etl.put("things.csv", lines((1, "2025-01-01", 1)))
    await etl.run(things())
    redeclared = things(duplicates={"keep": "first"})
    assert (await etl.run(redeclared)).unchanged == 1
    assert (await etl.run(redeclared)).files_skipped == 1
    await etl.db.execute("truncate things")
    assert (await etl.run(redeclared)).loaded == 1
    await etl.db.execute("drop table things")
    assert (await etl.run(redeclared)).loaded == 1
    etl.put("things.csv", lines((1, "2025-01-01", 2)))
    assert (await etl.run(redeclared)).updated == 1


async def test_a_corrected_file_leaves_nothing_in_quarantine(etl: Etl) -> None:
    etl.put("things.csv", lines(("x", "2025-01-01", 1)))
    await etl.run(things())
    assert len(await etl.quarantine(things())) == 1
    etl.put("things.csv", lines((1, "2025-01-01", 1)))
    await etl.run(things())
    assert await etl.quarantine(things()) == []


async def test_days_are_loaded_one_by_one_and_resumed(etl: Etl) -> None:
    """A run that ends after two of four days leaves these; the next one goes on and reports all."""
    dataset = things(source="in/{date:%Y/%m}/{date}.csv")
    for day in range(1, 5):
        etl.put(f"in/2025/01/2025-01-0{day}.csv", lines((day, f"2025-01-0{day}", day), (100, f"2025-01-0{day}", day)))
    days_asked: dict[str, Any] = {"from_date": date(2025, 1, 1), "to_date": date(2025, 1, 4)}
    first = TestJob(etl.db, "job-7")
    first.stop_at_bytes = 2 * 52
    with pytest.raises(asyncio.CancelledError):
        await etl.run(dataset, job=first, **days_asked)
    assert [row[0] for row in await table(etl)] == [1, 2, 100]
    again = TestJob(etl.db, "job-7")
    report = await etl.run(dataset, job=again, **days_asked)
    assert (report.read, report.loaded, report.updated, report.files_read) == (8, 5, 3, 4)
    assert adds_up(report)
    assert [row[0] for row in await table(etl)] == [1, 2, 3, 4, 100]


async def test_a_resumed_range_does_not_need_the_files_of_days_that_are_done(etl: Etl) -> None:
    dataset = things(source="{date}.csv")
    for day in (1, 2):
        etl.put(f"2025-01-0{day}.csv", lines((day, f"2025-01-0{day}", day)))
    days_asked: dict[str, Any] = {"from_date": date(2025, 1, 1), "to_date": date(2025, 1, 2)}
    first = TestJob(etl.db, "job-8")
    first.stop_at_bytes = 32
    with pytest.raises(asyncio.CancelledError):
        await etl.run(dataset, job=first, **days_asked)
    (etl.root / "2025-01-01.csv").unlink()
    report = await etl.run(dataset, job=TestJob(etl.db, "job-8"), **days_asked)
    assert (report.read, report.loaded) == (2, 2)


async def test_rejected_rows_are_forgotten_in_time(etl: Etl) -> None:
    etl.put("things.csv", lines(("x", "2025-01-01", 1), ("y", "2025-01-01", 1)))
    await etl.run(things(quarantine_days=2))
    assert await etl.rows("select distinct expires_at - rejected_at = '2 days'::interval from millrace.quarantine") == [
        (True,)
    ]
    await etl.db.execute("update millrace.quarantine set expires_at = now() where line = 2")
    await forget_expired(etl.db, etl.log)
    assert await etl.rows("select line from millrace.quarantine") == [(3,)]
    await etl.db.execute("drop table millrace.quarantine")
    await forget_expired(etl.db, etl.log)
    assert etl.log.lines[-1][0] == "rejected rows whose time is over are still there"


async def test_a_column_may_be_absent_or_missing(etl: Etl) -> None:
    columns: list[dict[str, Any]] = [
        {"name": "id", "type": "int"},
        {"name": "kind", "optional": True, "default": "usual"},
        {"name": "note", "optional": True},
    ]
    dataset = declared(columns, name="things", table="things", source="*.csv", key=["id"])
    etl.put("a.csv", "id\n1\n")
    etl.put("b.csv", "kind,id\nodd,2\n,3\n")
    await etl.run(dataset)
    assert await etl.rows("select id, kind, note from things order by 1") == [
        (1, "usual", None),
        (2, "odd", None),
        (3, "usual", None),
    ]


async def test_a_lost_lease_changes_nothing(etl: Etl) -> None:
    """The fence is checked before the commit: rows, quarantine and fingerprints go together."""
    etl.put("things.csv", lines((1, "2025-01-01", 1), ("x", "", "")))
    fenced = etl.db.scoped(name="job", guard=Guard(sql="select 1 where false", args=()))
    with pytest.raises(LeaseLost):
        await etl.run(things(), db=fenced)
    assert await etl.rows("select to_regclass('things')::text") == [(None,)]
    for kept in ("quarantine", "dataset_loads", "dataset_files"):
        assert await etl.rows(f"select count(*) from millrace.{kept}") == [(0,)]  # noqa: S608


async def test_loads_into_one_table_wait_for_each_other(etl: Etl) -> None:
    etl.put("things.csv", lines((1, "2025-01-01", 1)))
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    async with anyio.create_task_group() as both, etl.db.transaction() as other:
        await other.execute("select pg_advisory_xact_lock(hashtextextended('millrace.batch_etl things', 0))")
        both.start_soon(etl.run, things())
        while not await other.fetch_value(waiting):
            pass
        assert await other.fetch_value("select to_regclass('things')::text") is None
    assert await table(etl) == [(1, "2025-01-01", 1.0)]


async def test_another_writer_between_is_merged_with(etl: Etl) -> None:
    """Rows that others insert or change are counted as what we did with them."""
    etl.put("things.csv", lines((1, "2025-01-01", 1), (2, "2025-01-01", 1)))
    await etl.run(things())
    await etl.db.execute(
        "update things set value = 5 where id = 1; delete from things where id = 2;"
        "insert into things values (9, null, 9)"
    )
    report = await etl.run(things(), force=True)
    assert (report.loaded, report.updated, report.unchanged) == (1, 1, 0)
    assert [row[0] for row in await etl.rows("select id from things order by 1")] == [1, 2, 9]


async def test_counts_are_exact_where_the_table_is_partitioned(etl: Etl) -> None:
    await etl.db.execute(
        "create table things (value numeric(18,6), id bigint primary key, gone int, day date) partition by range (id);"
        "alter table things drop column gone;"
        "create table things_low partition of things for values from (minvalue) to (10);"
        "create table things_high (day date, value numeric(18,6), id bigint not null);"
        "alter table things attach partition things_high for values from (10) to (maxvalue)"
    )
    etl.put("things.csv", lines((1, "2025-01-01", 1), (20, "2025-01-01", 1)))
    assert (await etl.run(things())).loaded == 2
    etl.put("things.csv", lines((1, "2025-01-01", 2), (20, "2025-01-01", 1), (21, "2025-01-01", 1)))
    report = await etl.run(things())
    assert (report.loaded, report.updated, report.unchanged) == (1, 1, 1)


def asked(dataset: Dataset, **command: Any) -> list[str]:
    with pytest.raises(BadInput) as caught:
        days(dataset, RunBatchEtl(dataset=dataset.name, **command))
    return caught.value.faults


def test_what_is_asked_wrongly_is_told_at_once() -> None:
    one, two = date(2025, 1, 1), date(2025, 1, 2)
    dated = things(source="{date}.csv")
    assert "needs a date" in asked(dated)[0]
    assert asked(dated, date=one, to_date=two) == ["give either date, or from_date and to_date; date and to_date came"]
    assert asked(dated, from_date=one) == ["a range has two ends: from_date came alone"]
    assert asked(dated, from_date=two, to_date=one) == ["from_date, 2025-01-02, is after to_date, 2025-01-01"]
    assert "at most 3700" in asked(dated, from_date=date(1900, 1, 1), to_date=two)[0]
    assert "a range needs {date}" in asked(things(), from_date=one, to_date=two)[0]
    assert "needs a date" in asked(things(mode="replace", partition_by="day"))[0]
    assert "would undo" in asked(things(mode="replace", source="{date}.csv"), from_date=one, to_date=two)[0]
    assert len(asked(dated, date=one, to_date=two, source="../{day}.csv")) == 3
    assert days(things(), RunBatchEtl(dataset="things", date=one)) == (None,)
    assert filled("a/{date:%Y/%m}/{date}.csv", one) == "a/2025/01/2025-01-01.csv"
