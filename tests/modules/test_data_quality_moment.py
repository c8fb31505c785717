# ruff: noqa: S608 - the numbers in SQL are the test's own
"""All checks of a table see it as of one moment, and are asked on two connections where there are two."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from adapters.database.postgres import Limits, PostgresDb
from contracts.errors import Unavailable
from contracts.ports import Tx
from modules.data_quality.engine import Query, Unanswered
from modules.data_quality.tables import Tables, reading
from tests.kit.databases import opened
from tests.kit.waiting import until
from tests.modules.quality_kit import brief, checking, declared, report_of

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.usefixtures("unwatched")]

GATE = 17
"""Of an advisory lock that the test holds: whoever asks for it waits."""
COUNT = Query(sql="select count(*) as n from orders", values=())
SUITE = declared(
    {"check": "row_count", "fail": "when != 2"},
    {"check": "unique", "columns": ["id"]},
    {"check": "references", "columns": ["customer"], "to": "customers", "to_columns": ["id"]},
    {"check": "sql", "sql": "select id from orders where id > 2"},
)


@pytest.fixture
async def orders(db: PostgresDb) -> PostgresDb:
    await db.execute(
        "create table customers (id int); insert into customers values (1);"
        "create table orders (id int, customer int); insert into orders values (1, 1), (2, 1)"
    )
    return db


async def test_two_are_asked_at_once_and_see_the_same(orders: PostgresDb) -> None:
    gated = f"pg_backend_pid() as pid, (select count(*) from orders) as n, pg_advisory_xact_lock_shared({GATE})"
    two = [Query(sql=f"select {at} as at, {gated}", values=()) for at in range(2)]
    waiting = f"""
        select count(*) = 2 from pg_locks join pg_database on pg_database.oid = database
        where datname = current_database() and locktype = 'advisory' and objid = {GATE} and not granted
    """

    async def both_wait() -> bool:
        return bool(await orders.fetch_value(waiting))

    async with reading(orders, SUITE, "orders", private=False) as tables:
        assert await tables.facts() is not None
        async with asyncio.TaskGroup() as group, orders.transaction() as gate:
            await gate.execute(f"select pg_advisory_xact_lock({GATE})")
            asked = group.create_task(tables.ask_each(two))
            await until(both_wait, what="two questions under way")
            await orders.execute("insert into orders values (3, 9), (1, 9)")
        rows = [answer[0] for answer in asked.result() if not isinstance(answer, Unanswered)]
        assert [(row["at"], row["n"]) for row in rows] == [(0, 2), (1, 2)]
        assert len({row["pid"] for row in rows}) == 2
        assert await tables.ask_each([COUNT, COUNT, COUNT]) == [[{"n": 2}]] * 3
    assert await orders.fetch_value("select count(*) from orders") == 4


async def test_without_a_second_connection_one_is_enough(orders: PostgresDb, database_url: str) -> None:
    async with opened(PostgresDb(database_url, limits=Limits(pool_size=1, acquire_timeout_s=600))) as narrow:
        async with reading(narrow, SUITE, "orders", private=False) as tables:
            assert await tables.ask_each([COUNT, COUNT]) == [[{"n": 2}]] * 2
        assert await narrow.fetch_value("select 1") == 1, "nobody waits for it any more"


async def test_a_second_connection_that_is_refused_is_done_without(orders: PostgresDb) -> None:
    refused: list[str] = []

    def no_more(moment: str) -> AbstractAsyncContextManager[Tx]:
        refused.append(moment)
        raise Unavailable("the database", "too many clients already")

    async with orders.reading() as tx:
        tables = Tables(tx, "orders", no_more, timeout_s=10, private=False)
        assert await tables.ask_each([COUNT, COUNT]) == [[{"n": 2}]] * 2
    assert len(refused) == 1


async def test_a_connection_that_is_lost_is_no_answer(orders: PostgresDb) -> None:
    lost = Query(sql="select pg_terminate_backend(pg_backend_pid())", values=())
    with pytest.raises(Unavailable):
        async with reading(orders, SUITE, "orders", private=False) as tables:
            await tables.ask_each([lost, lost])
    async with reading(orders, SUITE, "orders", private=False) as tables:
        assert await tables.ask_each([COUNT, COUNT]) == [[{"n": 2}]] * 2


async def test_what_cannot_be_counted_beside_leaves_the_scan(orders: PostgresDb) -> None:
    await orders.execute("alter table orders add column doc json; update orders set doc = '{}'")
    suite = declared(
        {"check": "unique", "columns": ["doc"]},
        {"check": "unique", "columns": ["id"], "fail": "when > 50%"},
        {"check": "nulls", "column": "customer"},
        {"check": "references", "columns": ["customer"], "to": "nowhere"},
    )
    async with checking(orders, suite) as running:
        report = await report_of(running)
    assert [verdict for _, verdict, _ in brief(report)] == ["error", "pass", "pass", "error"]
    assert "json" in report.checks[0].why
    assert "nowhere" in report.checks[3].why
    assert report.checks[1].of == 2


async def test_as_many_runs_at_once_as_there_are_connections(orders: PostgresDb, database_url: str) -> None:
    """No run waits for a connection while it holds one that another run waits for."""
    change = declared({"check": "row_change", "fail": "when != 0"}, {"check": "unique", "columns": ["id"]})
    async with (
        opened(PostgresDb(database_url, limits=Limits(pool_size=2, acquire_timeout_s=600))) as narrow,
        checking(narrow, change) as running,
        asyncio.TaskGroup() as group,
    ):
        runs = [group.create_task(report_of(running)) for _ in range(4)]
    assert [run.result().verdict for run in runs] == ["pass"] * 4
