"""Suites of checks on tables of a real PostgreSQL, in the worker that ships."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from contracts.data_quality import (
    QUALITY_COMPLETED,
    ListQuality,
    QualityCompleted,
    RunDataQuality,
    ShowFailures,
    ShowQuality,
)
from contracts.dataset import Column, Dataset
from contracts.errors import NotFound
from contracts.job import JobState
from modules.data_quality.measures import CHECKS, SUITE_VERDICT
from modules.data_quality.module import list_quality, show_failures, show_quality
from tests.kit.catalog import DeclaredCatalog
from tests.modules.quality_kit import brief, checked, checking, declared, only, report_of

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

TABLE = """
create table customers (id int primary key);
insert into customers values (1), (2);
create table orders (
    id bigint primary key, customer int, sku text, status text, price numeric(10, 2), quantity int, at timestamptz,
    day date, local timestamp, "Odd Name" text
);
insert into orders values
    (1, 1, 'A-001', 'paid', 10.00, 1, '2026-01-14 23:30Z', '2026-01-14', '2026-01-14 23:30', 'x'),
    (2, 2, 'A-002', 'paid', 20.00, 2, '2026-01-15 00:00Z', '2026-01-15', '2026-01-15 00:00', 'x'),
    (3, 3, 'A-02', 'open', -1.00, 3, '2026-01-15 10:00Z', '2026-01-15', '2026-01-15 10:00', null),
    (4, null, null, 'gone', null, null, null, null, null, 'x'),
    (5, 4, 'A-002', 'paid', 2000.00, 2, '2026-01-15 23:59Z', '2026-01-15', '2026-01-15 23:59', 'x');
"""
DAY = date(2026, 1, 15)


@pytest.fixture
async def orders(db: PostgresDb) -> PostgresDb:
    await db.execute(TABLE)
    return db


async def test_every_kind_of_check_in_one_run(orders: PostgresDb) -> None:
    suite = declared(
        {"check": "row_count", "warn": "when < 10", "fail": "when < 1"},
        {"check": "row_change", "fail": "when < 0"},
        {"check": "nulls", "column": "price", "warn": "when > 0", "fail": "when > 50%"},
        {"check": "nulls", "column": "Odd Name"},
        {"check": "unique", "columns": ["sku", "status"]},
        {"check": "unique", "columns": ["id"]},
        {"check": "references", "columns": ["customer"], "to": "customers", "to_columns": ["id"]},
        {"check": "pattern", "column": "sku", "pattern": r"A-\d{3}"},
        {"check": "values", "column": "status", "values": ["paid", "open"]},
        {"check": "range", "column": "price", "min": 0, "max": 1000},
        {"check": "freshness", "column": "at", "fail": "when > 1d"},
        {"check": "sql", "name": "pairs", "sql": "select * from orders where quantity = 2"},
        {"check": "sql", "name": "mean", "sql": "select avg(price) from orders", "returns": "value", "fail": "> 500"},
    )
    report = await checked(orders, suite)
    (age,) = [one for one in report.checks if one.check == "freshness"]
    assert age.verdict == "fail"
    assert [one for one in brief(report) if one[0] != "freshness_at"] == [
        ("row_count", "warn", 5),
        ("row_change", "pass", None),
        ("nulls_price", "warn", 1),
        ("nulls_odd_name", "fail", 1),
        ("unique_sku_status", "fail", 2),
        ("unique_id", "pass", 0),
        ("references_customer", "fail", 2),
        ("pattern_sku", "fail", 1),
        ("values_status", "fail", 1),
        ("range_price", "fail", 2),
        ("pairs", "fail", 2),
        ("mean", "fail", 507.25),
    ]
    assert (report.verdict, report.passed, report.warned, report.failed, report.errors) == ("fail", 2, 2, 9, 0)
    assert {one.of for one in report.checks if one.check in ("nulls", "unique", "range")} == {5}


async def test_the_results_are_kept_with_failing_rows_and_sql_that_finds_them(orders: PostgresDb) -> None:
    suite = declared(
        {"check": "range", "column": "price", "min": 0, "max": 1000},
        {"check": "unique", "columns": ["sku"]},
        {"check": "references", "columns": ["customer"], "to": "customers", "to_columns": ["id"]},
        {"check": "sql", "name": "pairs", "sql": "select id, quantity from orders where quantity = 2 order by id"},
        {"check": "nulls", "column": "id"},
    )
    async with checking(orders, suite) as running:
        await report_of(running)
    failures = await show_failures(ShowFailures(suite="s"), orders)
    assert {one.name: list(one.sample) for one in failures} == {
        "range_price": [{"id": "3", "price": "-1.00"}, {"id": "5", "price": "2000.00"}],
        "unique_sku": [{"sku": "A-002", "(rows)": "2"}],
        "references_customer": [{"id": "3", "customer": "3"}, {"id": "5", "customer": "4"}],
        "pairs": [{"id": "2", "quantity": "2"}, {"id": "5", "quantity": "2"}],
    }
    for one in failures:
        if one.rows_sql:
            assert len(await orders.fetch(one.rows_sql)) == (1 if one.name == "unique_sku" else one.value), one.rows_sql
        assert one.sql
        await orders.fetch(one.sql)


async def test_samples_are_bounded(orders: PostgresDb) -> None:
    await orders.execute("insert into orders (id, sku) select n, repeat('x', 5000) from generate_series(100, 200) n")
    pattern = {"check": "pattern", "column": "sku", "pattern": "A-.*"}
    await checked(orders, declared(pattern, suite={"samples": 3}))
    (failure,) = await show_failures(ShowFailures(suite="s"), orders)
    assert (failure.value, len(failure.sample)) == (101, 3)
    assert {len(row["sku"] or "") for row in failure.sample} == {200}
    await checked(orders, declared(pattern, suite={"samples": 0}))
    (failure,) = await show_failures(ShowFailures(suite="s"), orders)
    assert failure.sample == ()
    assert failure.rows_sql


async def test_personal_values_are_masked_wherever_the_mark_stands(orders: PostgresDb) -> None:
    dataset = Dataset(
        name="loaded",
        table="public.orders",
        source="x.csv",
        key=("id",),
        columns=(Column(name="id", type="int"), Column(name="sku", personal=True), Column(name="quantity", type="int")),
    )
    suite = declared(
        {"check": "pattern", "column": "sku", "pattern": "B.*"},
        {"check": "sql", "name": "own", "sql": "select id, sku, sku || '!' as other from orders where id = 2"},
        {"check": "sql", "name": "cast", "sql": "select * from orders where sku::int = 1"},
    )
    report = await checked(orders, suite, dataset)
    shown = {one.name: one for one in await show_failures(ShowFailures(suite="s"), orders)}
    assert shown["pattern_sku"].sample[0] == {"id": "1", "sku": "***"}
    assert shown["own"].sample == ({"id": "2", "sku": "***", "other": "***"},)
    assert shown["cast"].verdict == "error"
    assert "A-00" not in shown["cast"].why
    assert "isn't shown, since columns are personal" in report.checks[2].why
    await checked(orders, declared({"check": "values", "column": "sku", "values": ["B"]}, personal=["sku"]))
    (failure,) = await show_failures(ShowFailures(suite="s"), orders)
    assert failure.sample[0] == {"id": "1", "sku": "***"}


async def test_a_partition_and_filters_choose_rows(orders: PostgresDb) -> None:
    count = {"check": "row_count", "fail": "when < 0"}
    for column, rows in (("at", 3), ("day", 3), ("local", 3)):
        assert only(await checked(orders, declared(count, partition_by=column), day=DAY)).value == rows
    assert only(await checked(orders, declared(count, filter="day = {date} -- of the day"), day=DAY)).value == 3
    suite = declared(
        {"check": "nulls", "column": "price", "filter": "quantity is null", "fail": "when > 99%"},
        {"check": "unique", "columns": ["sku"], "filter": "id < 5"},
        {"check": "references", "columns": ["customer"], "to": "customers", "to_columns": ["id"], "filter": "id <> 3"},
        {"check": "range", "column": "price", "max": 1, "filter": "status = 'paid'"},
        filter="status <> 'open'",
    )
    report = await checked(orders, suite)
    assert [(one.value, one.of, one.verdict) for one in report.checks] == [
        (1, 1, "fail"),
        (0, 3, "pass"),
        (1, 4, "fail"),
        (3, 3, "fail"),
    ]


async def test_a_suite_of_dates_asks_for_one(orders: PostgresDb) -> None:
    suite = declared({"check": "row_count", "fail": "when < 0"}, partition_by="day")
    async with checking(orders, suite) as running:
        row = await running.ended(await running.start("run.data_quality", RunDataQuality(suite="s")))
    assert (row.state, row.result) == (JobState.FAILED, None)
    assert "suite s needs a date" in (row.error or "")


async def test_rows_are_compared_with_those_of_the_run_before(orders: PostgresDb) -> None:
    suite = declared({"check": "row_change", "warn": "when not between -10% and 50%", "fail": "when < -50%"})
    async with checking(orders, suite) as running:
        first = only(await report_of(running))
        assert (first.verdict, first.value, first.why) == ("pass", None, "there is no run before; 5 rows")
        await orders.execute("insert into orders (id) values (6), (7), (8)")
        assert [only(await report_of(running)) for _ in range(2)] == [
            _changed("warn", 3, 5), _changed("pass", 0, 8),
        ]  # fmt: skip
        await orders.execute("delete from orders where id > 3")
        assert only(await report_of(running)) == _changed("fail", -5, 8)


def _changed(verdict: str, value: float, of: int) -> Any:
    from contracts.data_quality import CheckResult

    return CheckResult(
        source="orders",
        name="row_change",
        check="row_change",
        verdict=verdict,  # type: ignore[arg-type]
        value=value,
        of=of,
        warn="when not between -10% and 50%",
        fail="when < -50%",
    )


async def test_with_dates_the_run_before_is_that_of_the_date_before(orders: PostgresDb) -> None:
    suite = declared({"check": "row_change", "fail": "when < 0"}, partition_by="day")
    async with checking(orders, suite) as running:
        found = [only(await report_of(running, day=day)) for day in (DAY, date(2026, 1, 14), DAY, DAY)]
    assert [(one.value, one.of) for one in found] == [(None, None), (None, None), (2, 1), (2, 1)]


async def test_the_age_is_told_from_the_run_or_from_the_end_of_its_date(orders: PostgresDb) -> None:
    suite = declared(
        *({"check": "freshness", "column": column, "fail": "when > 1h"} for column in ("at", "day", "local")),
        {"check": "freshness", "column": "at", "name": "none", "filter": "id = 4", "fail": "when > 1h"},
    )
    ages = [one.value for one in (await checked(orders, suite, day=DAY)).checks]
    assert ages == [60, 86400, 60, None]
    report = await checked(orders, suite)
    now = datetime.now(UTC)  # noqa: TID251 - the harness runs on the system's clock
    for one, latest in zip(
        report.checks[:3], ("2026-01-15T23:59Z", "2026-01-15T00:00Z", "2026-01-15T23:59Z"), strict=True
    ):
        assert one.value == pytest.approx((now - datetime.fromisoformat(latest)).total_seconds(), abs=60)
    assert (report.checks[3].verdict, report.checks[3].why) == ("error", "no row has a value in at")


async def test_one_check_that_cannot_be_made_leaves_the_others(orders: PostgresDb) -> None:
    suite = declared(
        {"check": "nulls", "column": "price"},
        {"check": "nulls", "column": "prize"},
        {"check": "range", "column": "sku", "min": 1},
        {"check": "values", "column": "quantity", "values": [1, "many"]},
        {"check": "row_count", "name": "filtered", "filter": "nothing = 1", "fail": "when < 1"},
        {"check": "references", "columns": ["sku"], "to": "customers", "to_columns": ["id"]},
        {"check": "references", "columns": ["customer"], "to": "clients", "name": "clients"},
        {"check": "sql", "name": "broken", "sql": "select from where"},
        {"check": "sql", "name": "two", "sql": "select 1, 2", "returns": "value", "fail": "when > 0"},
        {"check": "sql", "name": "null", "sql": "select null::int", "returns": "value", "fail": "when > 0"},
        {"check": "unique", "columns": ["id"]},
    )
    report = await checked(orders, suite)
    verdicts = {one.name: (one.verdict, one.why) for one in report.checks}
    assert verdicts.pop("nulls_price")[0] == "fail"
    assert verdicts.pop("unique_id")[0] == "pass"
    assert {verdict for verdict, _ in verdicts.values()} == {"error"}
    for name, why in {
        "nulls_prize": "there is no column 'prize' (there are: id, customer",
        "range_sku": "range is for date, decimal, float, int, naive, timestamp; sku is text",
        "values_quantity": "column quantity: 'many' is no int",
        "filtered": 'column "nothing" does not exist',
        "references_sku": "operator does not exist",
        "clients": 'relation "clients" does not exist',
        "broken": "syntax error",
        "two": "returns: value wants one row with one number; 2 columns came",
        "null": "returns: value wants a number; null came",
    }.items():
        assert why in verdicts[name][1], verdicts[name]
    assert report.errors == 9


async def test_a_table_that_is_not_there_is_an_error_of_its_checks(db: PostgresDb) -> None:
    report = await checked(db, declared({"check": "nulls", "column": "a"}, {"check": "unique", "columns": ["a"]}))
    assert [(one.verdict, one.why) for one in report.checks] == [
        ("error", "the table isn't there, or is out of reach")
    ] * 2


async def test_what_is_asked_cannot_write(orders: PostgresDb) -> None:
    await orders.execute(
        "create function spoil() returns int language sql as 'delete from customers; select 1';"
        "create function free() returns text language sql as"
        " $$ select set_config('transaction_read_only', 'off', true) $$"
    )
    suite = declared(
        *({"check": "sql", "name": f"n{n}", "sql": sql} for n, sql in enumerate((
            "select spoil()",
            "delete from orders returning 1",
            "with gone as (delete from orders returning 1) select * from gone",
            "select 1) as q; delete from orders; select (1",
            "select free(), spoil()",
            "select nextval('s')",
        ))),
        {"check": "row_count", "fail": "when < 1", "filter": "spoil() = 1"},
    )  # fmt: skip
    await orders.execute("create sequence s")
    report = await checked(orders, suite)
    assert {one.verdict for one in report.checks} == {"error"}
    assert await orders.fetch_value("select count(*) from orders") == 5
    assert await orders.fetch_value("select count(*) from customers") == 2


async def test_what_takes_too_long_is_given_up(orders: PostgresDb) -> None:
    suite = declared(
        {"check": "sql", "name": "slow", "sql": "select 1 from pg_sleep(60)"},
        {"check": "sql", "name": "fast", "sql": "select 1 where false"},
        suite={"timeout_s": 0.2},
    )
    report = await checked(orders, suite)
    assert [(one.name, one.verdict) for one in report.checks] == [("slow", "error"), ("fast", "pass")]
    assert report.checks[0].why == "it did not end within 0.2 s (timeout_s)"


async def test_a_query_is_counted_up_to_its_cap(orders: PostgresDb) -> None:
    endless = "with recursive n as (select 1 as n union all select n + 1 from n) select n from n"
    report = await checked(orders, declared({"check": "sql", "sql": endless, "max_rows": 100}))
    assert (only(report).value, only(report).why) == (100, "counted no further (max_rows)")


async def test_a_role_of_its_own(orders: PostgresDb) -> None:
    role = "quality_" + str(await orders.fetch_value("select current_database()")).rpartition("_")[2]
    count = {"check": "row_count", "fail": "when < 1"}
    await orders.execute(f'create schema shop; create table shop.things as select 1 as n; create role "{role}"')
    suite = declared(count, source="shop.things", suite={"role": role})
    try:
        assert "permission denied for schema shop" in only(await checked(orders, suite)).why
        await orders.execute(f'grant usage on schema shop to "{role}"')
        assert "permission denied for table things" in only(await checked(orders, suite)).why
        await orders.execute(f'grant select on shop.things to "{role}"')
        assert only(await checked(orders, suite)).verdict == "pass"
        await orders.execute(
            f'grant usage on schema {await orders.fetch_value("select quote_ident(current_schema())")} to "{role}";'
            f'grant select on orders to "{role}"'
        )
        assert only(await checked(orders, declared(count, suite={"role": role}))).verdict == "pass"
        async with checking(orders, declared(count, suite={"role": "nobody"})) as running:
            row = await running.ended(await running.start("run.data_quality", RunDataQuality(suite="s")))
        assert "suite s: role 'nobody' can't be taken" in (row.error or "")
    finally:
        await orders.execute(f'drop owned by "{role}"; drop role "{role}"')


async def test_what_was_found_is_told_and_counted(orders: PostgresDb) -> None:
    suite = declared({"check": "nulls", "column": "price"}, {"check": "nulls", "column": "id"})
    async with checking(orders, suite) as running:
        report = await report_of(running)
        await running.settled()
        (told,) = running.emitted(QUALITY_COMPLETED, QualityCompleted)
        assert (told.suite, told.verdict, told.passed, told.failed) == ("s", "fail", 1, 1)
        assert told.bad == report.checks[:1]
        assert running.metrics.value(CHECKS, suite="s", verdict="fail") == 1
        assert running.metrics.value(SUITE_VERDICT, suite="s") == 2


async def test_a_failed_job_has_its_report_and_begins_anew_when_it_is_retried(orders: PostgresDb) -> None:
    async with checking(orders, declared({"check": "nulls", "column": "price"})) as running:
        job_id = await running.start("run.data_quality", RunDataQuality(suite="s"))
        row = await running.ended(job_id)
        assert row.state is JobState.FAILED
        assert row.result["failed"] == 1
        assert (row.attempt, row.checkpoint) == (1, None)
        assert row.error == (
            "suite s: 1 of 1 checks failed:\n  - orders: nulls_price: 1 of 5 (it fails when > 0)\n"
            "see `millrace quality failures s`"
        )
        await orders.execute("update orders set price = 1 where price is null")
        await running.ledger.desk.retry(job_id)
        row = await running.ended(job_id)
        assert (row.state, row.result["passed"], row.error) == (JobState.DONE, 1, None)
    assert await orders.fetch("select verdict from millrace.quality_runs") == [{"verdict": "pass"}]


async def test_the_trend_of_each_check(orders: PostgresDb) -> None:
    rows = {"check": "row_count", "warn": "when > 6", "fail": "when > 7"}
    async with checking(orders, declared(rows)) as running:
        await report_of(running)
        for number in (10, 11, 12):
            await orders.execute("insert into orders (id) values ($1)", number)
            await report_of(running)
    async with checking(orders, declared(rows, {"check": "nulls", "column": "price"})) as running:
        await report_of(running)
    count, nulls = await show_quality(ShowQuality(suite="s"), orders)
    assert (count.values, count.trend, count.verdicts) == ((5, 6, 7, 8, 8), "▁▃▆██", "..wFF")
    assert (nulls.values, nulls.trend, nulls.verdicts) == ((None, None, None, None, 4), "    ▁", "    F")
    (count, _) = await show_quality(ShowQuality(suite="s", last=2), orders)
    assert (count.values, count.verdict, count.value) == ((8, 8), "fail", 8)
    (line, other) = await list_quality(
        ListQuality(),
        orders,
        DeclaredCatalog(declared(rows), declared(rows, suite={"name": "t"})),
    )
    assert (line.name, line.verdict, line.checks, other.verdict) == ("s", "fail", 1, None)
    with pytest.raises(NotFound, match="no run of suite 'x' is kept"):
        await show_quality(ShowQuality(suite="x"), orders)
    with pytest.raises(NotFound, match="no run y of suite 's' is kept"):
        await show_failures(ShowFailures(suite="s", run="y"), orders)


async def test_results_are_forgotten_when_their_time_is_over(orders: PostgresDb) -> None:
    suite = declared({"check": "row_count", "fail": "when < 1"})
    async with checking(orders, suite) as running:
        await report_of(running)
        await orders.execute("update millrace.quality_runs set expires_at = now() - interval '1 s'")
        await report_of(running)
    assert await orders.fetch_value("select count(*) from millrace.quality_runs") == 1
    await orders.execute("update millrace.quality_runs set expires_at = now() - interval '1 s'")
    async with checking(orders, suite):
        pass
    assert await orders.fetch_value("select count(*) from millrace.quality_results") == 0


async def test_what_has_a_unique_index_is_looked_at_all_the_same(orders: PostgresDb) -> None:
    """A view has none: both ways come to the same."""
    await orders.execute("create view orders_seen as select * from orders")
    suite = [{"check": "unique", "columns": ["id"]}, {"check": "unique", "columns": ["sku"]}]
    reports = [await checked(orders, declared(*suite, source=source)) for source in ("orders", "orders_seen")]
    assert [[(one.value, one.of) for one in report.checks] for report in reports] == [[(0, 5), (2, 5)]] * 2
    statements = await orders.fetch("select sql from millrace.quality_results where name = 'unique_id' order by source")
    assert ["distinct" in row["sql"] for row in statements] == [True, False]
