# ruff: noqa: PT012 - what raises is a whole transaction
"""How `PostgresDb` connects, waits and gives up, and what it says then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest

from adapters.database.postgres import Limits, PostgresDb
from adapters.metrics.memory import MemoryMetrics
from contracts.errors import Faults, Transient, Unavailable
from tests.kit import services
from tests.kit.databases import opened
from tests.kit.door import Door

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

PATIENT = Limits(pool_size=2, open_timeout_s=600, connect_timeout_s=10)
"""A test that waits for it runs into its own deadline."""


@pytest.fixture
async def door(database_url: str) -> AsyncIterator[Door]:
    """A port before the server, still shut."""
    parts = urlsplit(database_url)
    directory = dict(parse_qsl(parts.query)).get("host")
    target = f"{directory}/.s.PGSQL.5432" if directory else (parts.hostname or "", parts.port or 5432)
    async with Door(target) as made:
        yield made


def through(door: Door, url: str, *, query: str = "") -> str:
    """The same login and database, over TCP."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return f"postgresql://{login}@127.0.0.1:{door.port}{parts.path}{query}"


@pytest.mark.parametrize("query", ["", "?sslmode=disable", "?sslmode=prefer"])
async def test_over_tcp(door: Door, database_url: str, query: str) -> None:
    await door.open()
    async with opened(PostgresDb(through(door, database_url, query=query))) as db:
        assert await db.fetch_value("select 1") == 1
        assert db.address == f"postgresql://127.0.0.1:{door.port}{urlsplit(database_url).path}"


async def test_waits_for_a_server_that_is_coming_up(door: Door, database_url: str) -> None:
    db = PostgresDb(through(door, database_url), limits=PATIENT)
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(db.open())
        done, _ = await asyncio.wait([opening], timeout=0.2)
        assert not done, "nothing listens there yet"
        await door.open()
    assert await db.fetch_value("select 1") == 1
    await db.close()


async def test_a_server_that_is_cut_off_in_a_transaction(door: Door, database_url: str) -> None:
    await door.open()
    async with opened(PostgresDb(through(door, database_url), limits=Limits(acquire_timeout_s=5))) as db:
        await db.execute("create table cut (n int)")
        with pytest.raises(Unavailable):
            async with db.transaction() as tx:
                await tx.execute("insert into cut values (1)")
                await door.close()
                await tx.execute("insert into cut values (2)")
        with pytest.raises(Unavailable):
            await db.check()
    async with opened(PostgresDb(database_url)) as db:
        assert await db.fetch_value("select count(*) from cut") == 0


async def test_a_refused_login_is_told_at_once_and_without_the_password(postgres: services.Running) -> None:
    parts = urlsplit(postgres.url)
    wrong = parts._replace(netloc=f"millrace:hunter2@{parts.netloc.rpartition('@')[2]}")
    with pytest.raises(Unavailable, match="password authentication failed") as refused:
        await PostgresDb(urlunsplit(wrong), limits=PATIENT).open()
    assert "hunter2" not in str(refused.value)


async def test_an_unknown_database_is_told_at_once(postgres: services.Running) -> None:
    url = urlunsplit(urlsplit(postgres.url)._replace(path="/nowhere"))
    with pytest.raises(Unavailable, match='"nowhere" does not exist'):
        await PostgresDb(url, limits=PATIENT).open()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://u:hunter2@127.0.0.1:9/app", r"127\.0\.0\.1:9/app"),
        ("postgresql://u:hunter2@host.invalid/app", r"host\.invalid/app"),
        ("postgresql://u:hunter2@/app?host=/nonexistent", "host=/nonexistent"),
    ],
)
async def test_a_server_that_never_comes_is_named(url: str, where: str) -> None:
    db = PostgresDb(url, limits=Limits(open_timeout_s=0.2))
    with pytest.raises(Unavailable, match=where) as refused:
        await db.open()
    assert "hunter2" not in str(refused.value) + repr(refused.value.__cause__)
    with pytest.raises(Unavailable, match="open"):
        await db.fetch("select 1")
    await db.close()


async def test_a_statement_that_takes_too_long_is_cancelled(database_url: str) -> None:
    async with opened(PostgresDb(database_url, limits=Limits(pool_size=1, command_timeout_s=0.1))) as db:
        with pytest.raises(Transient, match="did not end in time") as late:
            await db.execute("select pg_sleep(60)")
        assert not isinstance(late.value, Unavailable)
        assert await db.fetch_value("select 1") == 1


async def test_a_pool_that_is_used_up_says_so(database_url: str) -> None:
    async with opened(PostgresDb(database_url, limits=Limits(pool_size=1, acquire_timeout_s=0.05))) as db:
        async with db.transaction():
            with pytest.raises(Unavailable, match="all 1 are busy"):
                await db.check()
        await db.check()


async def test_a_lost_connection_is_unavailable_and_the_next_one_works(database_url: str) -> None:
    async with opened(PostgresDb(database_url, limits=Limits(pool_size=2))) as db:
        with pytest.raises(Unavailable):
            async with db.transaction() as tx:
                pid = await tx.fetch_value("select pg_backend_pid()")
                await db.fetch_value("select pg_terminate_backend($1)", pid)
                await tx.fetch_value("select pg_sleep(60)")
        async with db.transaction() as tx:
            assert await tx.fetch_value("select pg_backend_pid()") != pid


async def test_a_connection_of_ones_own(db: PostgresDb) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    lost = asyncio.Event()
    async with db.connect(name="ears") as own:
        own.on_lost(lost.set)
        await own.listen("news", heard.put_nowait)
        await db.execute("select pg_notify('news', 'hello')")
        async with asyncio.timeout(10):
            assert await heard.get() == "hello"
        pid = await own.fetch_value("select pg_backend_pid()")
        seen = "select application_name from pg_stat_activity where pid = $1"
        assert await db.fetch_value(seen, pid) == "ears"
        async with own.transaction(name="mine"):
            assert await own.fetch_value("show application_name") == "mine"
        await db.execute("select pg_terminate_backend($1)", pid)
        async with asyncio.timeout(10):
            await lost.wait()
        assert own.lost
        with pytest.raises(Unavailable):
            await own.fetch_value("select 1")


async def test_for_pgbouncer_nothing_is_prepared_by_name(database_url: str) -> None:
    mark = "&" if "?" in database_url else "?"
    async with opened(PostgresDb(f"{database_url}{mark}statement_cache_size=0")) as db, db.transaction() as tx:
        for _ in range(3):
            await tx.fetch("select $1::int", 1)
        assert await tx.fetch_value("select count(*) from pg_prepared_statements") == 0


async def test_every_statement_is_measured(database_url: str) -> None:
    metrics = MemoryMetrics()
    async with opened(PostgresDb(database_url, metrics=metrics)) as db:
        await db.fetch_value("select pg_sleep(0.01)")
        async with db.transaction() as tx:
            await tx.execute("create table t (n int)")
            await tx.bulk_insert("t", [(1,)], columns=["n"])
    told = metrics.exposition().decode()
    for operation in ("fetch", "begin", "execute", "copy", "commit"):
        assert f'platform_db_query_duration_ms_count{{operation="{operation}"}} 1' in told


async def test_open_and_close_are_idempotent(database_url: str) -> None:
    db = PostgresDb(database_url)
    await db.close()
    await db.open()
    await db.open()
    scoped = db.scoped(name="x", guard=None)
    await db.check()
    await db.close()
    await db.close()
    for closed in (db, scoped):
        with pytest.raises(Unavailable, match="closed"):
            await closed.check()
    await db.open()
    await scoped.check()
    await db.close()


async def test_a_url_is_judged_before_anything_is_opened() -> None:
    with pytest.raises(Faults):
        PostgresDb("mysql://host/app")
    with pytest.raises(ValueError, match="either"):
        PostgresDb()


async def test_what_scoped_work_did_is_counted_as_it_commits(database_url: str) -> None:
    """Not within ten seconds: who looks at the counts (decision 15) sees it with the first look after the commit."""
    counted = "select pg_stat_get_tuples_inserted('counted'::regclass)"
    async with opened(PostgresDb(database_url)) as db, opened(PostgresDb(database_url)) as other:
        await db.execute("create table counted (n int)")
        work = db.scoped(name="a job", guard=None)
        for number in range(1, 6):
            await work.execute("insert into counted values (1)")
            assert await other.fetch_value(counted) == number
