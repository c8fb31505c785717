"""Suites of checks on the files of lakes, by DuckDB."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from contracts.data_quality import QualityReport, RunDataQuality, ShowFailures
from contracts.event import Event
from contracts.quality import Suite
from modules.data_quality.module import show_failures
from tests.modules.quality_kit import brief, checking, only, report_of
from tests.modules.quality_kit import declared as suite_of
from tests.modules.stream_ingest_kit import ORDER_COLUMNS, Lander, days_ago, declared, order

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

COLUMNS = [
    *ORDER_COLUMNS,
    {"name": "day", "type": "date"},
    {"name": "weight", "type": "float"},
    {"name": "gift", "type": "bool"},
]
LAKE = "lake:order_placed"


def event(**lake: Any) -> Event:
    return declared({"lake": {"path": "lake/orders", "rows": 1, **lake}}, COLUMNS)


async def landed(db: PostgresDb, root: Path, **lake: Any) -> Event:
    """Two days of orders, each batch a file."""
    made = event(**lake)
    ingest = Lander(db, root, made)
    await ingest.land(
        order(1, amount="5.00", day="2026-01-15", weight=0.5, gift=True),
        order(2, amount="-1.25", day="2026-01-14", weight=None, gift=False),
        order(2, who=None, amount=None),
    )
    await ingest.land(order(4, who="Bob\n", at=days_ago(1), weight=1e300))
    return made


def suite(*checks: dict[str, Any], **more: Any) -> Suite:
    return suite_of(*checks, source=LAKE, **more)


async def checked(
    db: PostgresDb, root: Path, suite: Suite, *declarations: Event, day: date | None = None
) -> QualityReport:
    async with checking(db, suite, *declarations, root=root) as running:
        return await report_of(running, day=day)


@pytest.mark.parametrize("form", ["parquet", "json", "csv"])
async def test_every_kind_of_check_in_every_format(db: PostgresDb, tmp_path: Path, form: str) -> None:
    made = await landed(db, tmp_path, format=form)
    asked = suite(
        {"check": "row_count", "fail": "when < 1"},
        {"check": "nulls", "column": "customer"},
        {"check": "unique", "columns": ["order_id"]},
        {"check": "references", "columns": ["order_id"], "to": LAKE, "filter": "order_id <> 4"},
        {"check": "pattern", "column": "customer", "pattern": "[a-z]+"},
        {"check": "values", "column": "gift", "values": [True]},
        {"check": "range", "column": "amount", "min": 0, "max": 1.5},
        {"check": "range", "column": "weight", "max": 1000},
        {"check": "range", "column": "day", "min": "2026-01-15"},
        {"check": "freshness", "column": "placed_at", "fail": "when < 0s"},
        {"check": "sql", "name": "own", "sql": "select * from order_placed where amount < 0"},
        {
            "check": "sql",
            "name": "mean",
            "sql": "select avg(amount) from order_placed",
            "returns": "value",
            "fail": "> 9",
        },
    )
    report = await checked(db, tmp_path, asked, made)
    assert [one for one in brief(report) if one[0] != "freshness_placed_at"] == [
        ("row_count", "pass", 4),
        ("nulls_customer", "fail", 1),
        ("unique_order_id", "fail", 2),
        ("references_order_id", "pass", 0),
        ("pattern_customer", "fail", 1),
        ("values_gift", "fail", 1),
        ("range_amount", "fail", 2),
        ("range_weight", "fail", 1),
        ("range_day", "fail", 1),
        ("own", "fail", 1),
        ("mean", "pass", 1.75),
    ]
    assert [one.verdict for one in report.checks if one.check == "freshness"] == ["pass"]


async def test_failing_rows_are_shown_by_the_events_key_and_masked(db: PostgresDb, tmp_path: Path) -> None:
    made = await landed(db, tmp_path)
    asked = suite(
        {"check": "pattern", "column": "customer", "pattern": "[A-Z]+"},
        {"check": "sql", "sql": "select order_id, customer, upper(customer) as loud from order_placed where gift"},
        key=["order_id"],
    )
    await checked(db, tmp_path, asked, made)
    pattern, own = await show_failures(ShowFailures(suite="s"), db)
    assert list(pattern.sample) == [{"order_id": str(n), "customer": "***"} for n in (1, 2, 4)]
    assert list(own.sample) == [{"order_id": "1", "customer": "***", "loud": "***"}]
    assert "regexp_full_match" in pattern.rows_sql


async def test_of_a_date_only_its_files_are_looked_at(db: PostgresDb, tmp_path: Path) -> None:
    made = await landed(db, tmp_path)
    asked = suite({"check": "row_count", "fail": "when < 1"})
    async with checking(db, asked, made, root=tmp_path) as running:
        assert [only(await report_of(running, day=day)).value for day in (None, date(2026, 1, 14))] == [4, 1]
        report = await report_of(running, day=date(2026, 1, 1))
    assert (only(report).verdict, only(report).why) == ("error", "the lake has no files")


async def test_files_of_several_formats_are_one_table(db: PostgresDb, tmp_path: Path) -> None:
    await landed(db, tmp_path, format="csv")
    made = event(format="parquet")
    await Lander(db, tmp_path, made, index=1).land(order(9, gift=True))
    report = await checked(db, tmp_path, suite({"check": "values", "column": "gift", "values": [False]}), made)
    assert (only(report).value, only(report).of) == (2, 5)


async def test_a_query_reaches_nothing_but_the_lake(db: PostgresDb, tmp_path: Path) -> None:
    made = await landed(db, tmp_path)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    queries = {
        "file": f"select * from read_csv('{tmp_path}/secret.csv')",  # noqa: S608
        "glob": "select * from glob('/etc/*')",
        "set": "select 1; set enable_external_access = true",
        "copy": f"select 1) as q; copy order_placed to '{tmp_path}/out.csv'; select (1",
        "attach": f"attach '{tmp_path}/x.db'",
        "delete": "delete from order_placed",
    }
    asked = suite(*({"check": "sql", "name": name, "sql": sql} for name, sql in queries.items()))
    report = await checked(db, tmp_path, asked, made)
    assert {one.name: one.verdict for one in report.checks} == dict.fromkeys(queries, "error")
    assert not (tmp_path / "out.csv").exists()


async def test_what_takes_too_long_is_given_up(db: PostgresDb, tmp_path: Path) -> None:
    made = await landed(db, tmp_path)
    asked = suite(
        {"check": "sql", "name": "slow", "sql": "select count(*) from range(1000000000000) a", "returns": "value",
         "fail": "> 0"},
        {"check": "unique", "columns": ["order_id"]},
        suite={"timeout_s": 0.5},
    )  # fmt: skip
    report = await checked(db, tmp_path, asked, made)
    assert [(one.verdict, one.value) for one in report.checks] == [("error", None), ("fail", 2)]
    assert report.checks[0].why == "it did not end within 0.5 s (timeout_s)"


async def test_a_file_that_is_gone_is_told(db: PostgresDb, tmp_path: Path) -> None:
    made = await landed(db, tmp_path)
    (first, *_) = sorted((tmp_path / "lake").rglob("*.parquet"))
    first.unlink()
    async with checking(db, suite({"check": "row_count", "fail": "when < 1"}), made, root=tmp_path) as running:
        row = await running.ended(await running.start("run.data_quality", RunDataQuality(suite="s")))
    assert row.result is None
    assert "is in the manifest of its lake, and it is not there" in (row.error or "")
