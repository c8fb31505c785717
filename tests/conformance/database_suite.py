# ruff: noqa: PT012, S608 - what raises is a whole transaction; the names in SQL are the suite's own
"""What every `Db` promises, as one suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import msgspec
import pytest

from contracts.errors import BadInput, LeaseLost, Permanent, Transient
from contracts.ports.database import Db, Guard


class Boom(Exception):
    """Comes from the test itself."""


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def exercise_database(db: Db) -> None:
    """Runs everything on an empty database."""
    for step in (
        queries,
        values,
        counts,
        transactions,
        readings,
        savepoints,
        failed_statement_is_not_swallowed,
        rows_in_bulk,
        odd_names,
        streams,
        errors,
        scopes,
        guards,
        deadlocks,
        cancelled_work_leaves_nothing,
    ):
        await step(db)


async def queries(db: Db) -> None:
    await db.execute("create table people (id int primary key, name text)")
    assert await db.execute("insert into people values ($1, $2)", 1, "Ada") == 1
    await db.execute_many("insert into people values ($1, $2)", [(2, "Bo"), (3, None)])
    assert await db.fetch("select * from people order by id") == [
        {"id": 1, "name": "Ada"},
        {"id": 2, "name": "Bo"},
        {"id": 3, "name": None},
    ]
    assert await db.fetch_one("select * from people where id = $1", 2) == {"id": 2, "name": "Bo"}
    assert await db.fetch_one("select * from people where id = $1", 9) is None
    assert await db.fetch_value("select name from people where id = $1", 1) == "Ada"
    assert await db.fetch_value("select name from people where id = $1", 9) is None
    assert await db.fetch("select * from people where id = $1", 9) == []


async def values(db: Db) -> None:
    document = {"list": [1, 2.5, None, "ü"], "deep": {"a": True}}
    for kind in ("json", "jsonb"):
        assert await db.fetch_value(f"select $1::{kind}", document) == document
        assert await db.fetch_value(f"select $1::{kind}", msgspec.Raw(b'{"raw":1}')) == {"raw": 1}
        assert await db.fetch_value(f"select $1::{kind}", "text") == "text"
    assert await db.fetch_value("select $1::numeric", Decimal("12345678901234567890.123")) == Decimal(
        "12345678901234567890.123"
    )


async def counts(db: Db) -> None:
    assert await db.execute("create table counted (n int)") == 0
    assert await db.execute("insert into counted select generate_series(1, 5)") == 5
    assert await db.execute("update counted set n = n + 1 where n > $1", 3) == 2
    assert await db.execute("insert into counted values (7); delete from counted where n < 3") == 2


async def transactions(db: Db) -> None:
    await db.execute("create table kept (n int)")
    async with db.transaction() as tx:
        await tx.execute("insert into kept values (1)")
        assert await tx.fetch_value("select count(*) from kept") == 1
        assert await db.fetch_value("select count(*) from kept") == 0, "seen outside before its commit"
    assert await db.fetch_value("select count(*) from kept") == 1
    with pytest.raises(Boom):
        async with db.transaction() as tx:
            await tx.execute("insert into kept values (2)")
            raise Boom
    with pytest.raises(Permanent):
        await db.execute("insert into kept values (3); insert into kept values ('x')")
    assert await db.fetch("select n from kept") == [{"n": 1}]


async def readings(db: Db) -> None:
    """Of one moment, also on several connections, and nothing is written or guarded."""
    await db.execute("create table read (n int); insert into read values (1)")
    await db.execute_many("insert into read values ($1)", [])
    own = {"statement_timeout": "1234ms", "datestyle": "ISO, YMD"}
    async with db.reading(settings=own) as one:
        assert await one.fetch_value("select count(*) from read") == 1
        await db.execute("insert into read values (2)")
        moment = await one.fetch_value("select pg_export_snapshot()")
        async with db.reading(at=moment) as other:
            assert await other.fetch_value("select count(*) from read") == 1
        assert await one.fetch_value("select count(*) from read") == 1
        assert await one.fetch_value("show statement_timeout") == "1234ms"
        async with db.reading() as later:
            assert await later.fetch_value("select count(*) from read") == 2
            assert await later.fetch_value("show statement_timeout") == "0"
        with pytest.raises(Transient):
            async with one.savepoint():
                await one.execute("insert into read values (3)")
        assert await one.fetch_value("select count(*) from read") == 1
    for wrong in ("00000003-0000001B-1", "'; drop table read; --"):
        with pytest.raises(Permanent):
            async with db.reading(at=wrong):
                pass
    with pytest.raises(Boom):
        async with db.reading():
            raise Boom
    lost = db.scoped(name="it's read", guard=Guard(sql="select 1 where false", args=()))
    async with lost.reading() as tx:
        assert await tx.fetch_value("show application_name") == "it's read"
    assert await db.fetch_value("select count(*) from read") == 2


async def savepoints(db: Db) -> None:
    await db.execute("create table saved (n int primary key)")
    async with db.transaction() as tx:
        await tx.execute("insert into saved values (1)")
        with pytest.raises(Permanent):
            async with tx.savepoint():
                await tx.execute("insert into saved values (2)")
                await tx.execute("insert into saved values (1)")
        async with tx.savepoint():
            await tx.execute("insert into saved values (3)")
            with pytest.raises(Boom):
                async with tx.savepoint():
                    await tx.execute("insert into saved values (4)")
                    raise Boom
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), tx.savepoint():
                await tx.execute("insert into saved values (5)")
                await tx.execute("select pg_sleep(10)")
    assert await db.fetch("select n from saved order by n") == [{"n": 1}, {"n": 3}]


async def failed_statement_is_not_swallowed(db: Db) -> None:
    """PostgreSQL answers such a commit with a rollback and no error."""
    await db.execute("create table swallowed (n int)")
    with pytest.raises(Permanent, match="savepoint"):
        async with db.transaction() as tx:
            await tx.execute("insert into swallowed values (1)")
            with pytest.raises(Permanent):
                await tx.execute("select 1/0")
    assert await db.fetch_value("select count(*) from swallowed") == 0


async def rows_in_bulk(db: Db) -> None:
    await db.execute("create table bulk (id int primary key, name text, doc jsonb)")
    rows = [(1, "a", {"x": 1}), (2, None, None)]
    assert await db.bulk_insert("bulk", rows, columns=["id", "name", "doc"]) == 2
    assert await db.bulk_insert("bulk", [], columns=["id"]) == 0
    assert await db.bulk_insert("public.bulk", ((n,) for n in (3, 4)), columns=["id"]) == 2
    assert await db.fetch_value("select doc from bulk where id = 1") == {"x": 1}
    with pytest.raises(BadInput, match="row 2"):
        await db.bulk_insert("bulk", [(5, "a"), (6, 7)], columns=["id", "name"])
    with pytest.raises(BadInput, match="row 1 has 3 values for 2 columns"):
        await db.bulk_insert("bulk", [(5, "a", 1)], columns=["id", "name"])
    with pytest.raises(BadInput, match="row 1 has 1 values for 2 columns"):
        await db.bulk_insert("bulk", [(5,)], columns=["id", "name"])
    with pytest.raises(BadInput, match=r"Key \(id\)=\(1\) already exists"):
        await db.bulk_insert("bulk", [(5, "a"), (1, "b")], columns=["id", "name"])

    def broken() -> Iterator[tuple[int]]:
        yield (5,)
        raise ValueError("of the source")

    with pytest.raises(ValueError, match="of the source"):
        await db.bulk_insert("bulk", broken(), columns=["id"])
    with pytest.raises(Permanent, match="nowhere"):
        await db.bulk_insert("nowhere", [(1,)], columns=["id"])
    assert await db.fetch_value("select count(*) from bulk") == 4


async def odd_names(db: Db) -> None:
    await db.execute('create schema "Odd schema"')
    for written, quoted in (
        ("Odd schema.Mixed Case", '"Odd schema"."Mixed Case"'),
        ('Odd schema."with.dot"', '"Odd schema"."with.dot"'),
        ('"Odd schema"."with""quote"', '"Odd schema"."with""quote"'),
        ("select", '"select"'),
        ("x; drop table kept", '"x; drop table kept"'),
    ):
        await db.execute(f'create table {quoted} ("Key" int, "a ""b" text)')
        assert await db.bulk_insert(written, [(1, "x")], columns=["Key", 'a "b']) == 1
        stream = chunks(b"2,y\n")
        assert await db.copy_in(written, stream, columns=["Key", 'a "b'], format="csv") == 1
        assert await db.fetch_value(f"select count(*) from {quoted}") == 2
    for wrong in ("", "a.b.c", 'a"b', ".a", "a.", "a\0b"):
        with pytest.raises(Permanent, match="is not the name of a table"):
            await db.bulk_insert(wrong, [(1,)], columns=["id"])


async def streams(db: Db) -> None:
    await db.execute("create table streamed (id int not null, name text)")
    columns = ["id", "name"]
    assert await db.copy_in("streamed", chunks(b"1,a\n2", b",\n"), columns=columns, format="csv") == 2
    assert await db.copy_in("streamed", chunks(b"3\tc\n", b"4\t\\N\n"), columns=columns, format="text") == 2
    binary = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2\0\0\0\4\0\0\0\5\0\0\0\1e" + b"\xff\xff"
    assert await db.copy_in("streamed", chunks(binary[:9], binary[9:]), columns=columns) == 1
    assert await db.copy_in("streamed", chunks(), columns=columns, format="csv") == 0
    expected = [(1, "a"), (2, None), (3, "c"), (4, None), (5, "e")]
    assert [tuple(row.values()) for row in await db.fetch("select * from streamed order by id")] == expected
    with pytest.raises(BadInput, match='line 2, column id: "x"'):
        await db.copy_in("streamed", chunks(b"6,a\nx,b\n"), columns=columns, format="csv")
    with pytest.raises(BadInput, match="not-null"):
        await db.copy_in("streamed", chunks(b",a\n"), columns=columns, format="csv")
    with pytest.raises(BadInput, match="COPY"):
        await db.copy_in("streamed", chunks(b"neither"), columns=columns)

    closed = []

    async def source(error: BaseException) -> AsyncIterator[bytes]:
        try:
            yield b"7,a\n"
            raise error
        finally:
            closed.append(True)

    for error in (Boom("of the source"), TimeoutError("of the source"), OSError("of the source")):
        with pytest.raises(type(error), match="of the source"):
            await db.copy_in("streamed", source(error), columns=columns, format="csv")
    assert len(closed) == 3
    assert await db.fetch_value("select count(*) from streamed") == 5

    async with db.transaction() as tx:
        await tx.execute("truncate streamed")
        assert await tx.copy_in("streamed", chunks(b"8,a\n"), columns=columns, format="csv", freeze=True) == 1
    with pytest.raises(Permanent):
        await db.copy_in("streamed", chunks(b"9,a\n"), columns=columns, format="csv", freeze=True)


async def errors(db: Db) -> None:
    for sql, args in (
        ("selekt", ()),
        ("select * from nowhere", ()),
        ("select 1/0", ()),
        ("select $1::int", ("text",)),
        ("select $1::int", ()),
        ("select $1::text", ("nul \0 byte",)),
        ("do $$ begin raise exception 'by hand'; end $$", ()),
    ):
        with pytest.raises(Permanent):
            await db.fetch(sql, *args)
    assert await db.fetch_value("select 1") == 1


async def scopes(db: Db) -> None:
    hostile = "job '; drop table kept; --"
    scoped = db.scoped(name=hostile, guard=None)
    before = await db.fetch_value("show application_name")
    assert await scoped.fetch_value("show application_name") == hostile
    async with scoped.transaction() as tx:
        assert await tx.fetch_value("show application_name") == hostile
    for _ in range(10):
        assert await db.fetch_value("show application_name") == before, "it outlived its transaction"
    assert await scoped.execute("insert into kept values (10)") == 1
    assert await scoped.execute("delete from kept where n = 10") == 1
    await scoped.close()  # the pool belongs to the one that was opened
    await scoped.check()


async def guards(db: Db) -> None:
    await db.execute("create table fences (job text, fence int); insert into fences values ('j', 1)")
    await db.execute("create table effects (n int)")
    check = "select 1 from fences where job = $1 and fence = $2 for share"
    mine = db.scoped(name="j", guard=Guard(sql=check, args=("j", 1)))
    await mine.execute("insert into effects values (1)")
    async with mine.transaction() as tx:
        await tx.execute("insert into effects values (2)")
    async with mine.transaction() as tx:
        await tx.execute("insert into effects values (3)")
        assert await mine.fetch_value("select count(*) from effects") == 2
    with pytest.raises(LeaseLost):
        async with mine.transaction() as tx:
            await tx.execute("insert into effects values (4)")
            await db.execute("update fences set fence = 2")
    for lost in (
        mine.execute("insert into effects values (5)"),
        mine.execute_many("insert into effects values ($1)", [(6,)]),
        mine.bulk_insert("effects", [(7,)], columns=["n"]),
        mine.copy_in("effects", chunks(b"8\n"), columns=["n"], format="csv"),
        mine.fetch("insert into effects values (9) returning n"),
        mine.fetch_one("insert into effects values (9) returning n"),
        mine.fetch_value("insert into effects values (9) returning n"),
    ):
        with pytest.raises(LeaseLost):
            await lost
    assert await db.fetch_value("select array_agg(n order by n) from effects") == [1, 2, 3]
    writing = Guard(sql="update fences set fence = fence where job = $1 and fence = $2 returning 1", args=("j", 2))
    await db.scoped(name="j", guard=writing).execute("insert into effects values (10)")
    assert await db.fetch_value("select max(n) from effects") == 10


async def deadlocks(db: Db) -> None:
    await db.execute("create table locked (n int primary key, v int); insert into locked values (1, 0), (2, 0)")
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> str:
        try:
            async with db.transaction() as tx:
                await tx.execute("update locked set v = v + 1 where n = $1", first)
                await both_hold_one.wait()
                await tx.execute("update locked set v = v + 1 where n = $1", second)
        except Transient:
            return "transient"
        return "done"

    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(lock(1, 2)), group.create_task(lock(2, 1))]
    assert sorted(attempt.result() for attempt in tries) == ["done", "transient"]


async def cancelled_work_leaves_nothing(db: Db) -> None:
    """However often and wherever it is cancelled: nothing is committed and the pool is whole."""
    await db.execute("create table cancelled (n int)")

    async def in_transaction() -> None:
        async with db.transaction() as tx:
            await tx.execute("insert into cancelled values (1)")
            await tx.execute("select pg_sleep(60)")

    async def in_copy() -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield b"1\n"
            await asyncio.Event().wait()

        await db.copy_in("cancelled", endless(), columns=["n"], format="csv")

    async def in_statement() -> None:
        await db.execute("insert into cancelled select 1 from pg_sleep(60)")

    for work in (in_transaction, in_copy, in_statement):
        for _ in range(8):  # more often than there are connections
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await work()
    assert await db.fetch_value("select count(*) from cancelled") == 0
    others = "datname = current_database() and pid <> pg_backend_pid()"
    assert await db.fetch_value(f"select count(*) from pg_stat_activity where {others} and state <> 'idle'") == 0
