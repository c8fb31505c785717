# ruff: noqa: S608 - the names in statements are the suite's own
"""What every `Statements` promises, as one suite; each database gives it the words of its own language."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from contracts.errors import BadInput, Permanent
from contracts.ports.database import Database


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one says what the languages don't have in common."""

    place: str
    """The schema or keyspace that names stand in by default."""
    types: tuple[str, ...]
    """Of `VALUES`, in their order."""
    upsert: str
    """Into `people (id, name)`."""
    insert_new: str
    """The same, if the key is not there."""


SQL = Dialect(
    place="public",
    types=(
        *("text", "bigint", "double precision", "boolean", "numeric", "uuid", "timestamptz", "date", "time", "bytea"),
        "text[]",
    ),
    upsert="insert into people (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name",
    insert_new="insert into people (id, name) values ($1, $2) on conflict do nothing",
)


def cql(keyspace: str) -> Dialect:
    return Dialect(
        place=keyspace,
        types=(
            *("text", "bigint", "double", "boolean", "decimal", "uuid", "timestamp", "date", "time", "blob"),
            "list<text>",
        ),
        upsert="insert into people (id, name) values ($1, $2)",
        insert_new="insert into people (id, name) values ($1, $2) if not exists",
    )


VALUES = (
    "ü ' $1 ? \N{SNOWMAN}",
    -(2**63),
    0.1,
    True,
    Decimal("-12345678901234567890.123"),
    UUID("0190163d-8694-739b-aea5-966c26f8ad91"),
    datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    date(2026, 2, 28),
    time(23, 59, 59, 123_456),
    b"\0\xff",
    ["b", "a", "b"],
)


async def exercise_statements(db: Database, dialect: Dialect) -> None:
    """Runs everything on an empty database."""
    for step in (
        queries,
        parameters,
        values,
        pages,
        repeats,
        conditions,
        rows_in_bulk,
        odd_names,
        errors,
        side_by_side,
        cancelled_work_does_no_harm,
    ):
        await step(db, dialect)


async def queries(db: Database, dialect: Dialect) -> None:
    ddl = await db.execute("create table people (id int primary key, name text)")
    assert ddl == (0 if db.capabilities.counts_rows else None)
    added = await db.execute("insert into people (id, name) values ($1, $2)", 1, "Ada")
    assert added == (1 if db.capabilities.counts_rows else None)
    await db.execute_many("insert into people (id, name) values ($1, $2)", [(2, "Bo"), (3, None)])
    assert sorted((row["id"], row["name"]) for row in await db.fetch("select * from people")) == [
        *((1, "Ada"), (2, "Bo"), (3, None))
    ]
    assert await db.fetch_one("select * from people where id = $1", 2) == {"id": 2, "name": "Bo"}
    assert await db.fetch_one("select * from people where id = $1", 9) is None
    assert await db.fetch_value("select name from people where id = $1", 1) == "Ada"
    assert await db.fetch_value("select name from people where id = $1", 9) is None
    assert await db.fetch_value("select count(*) from people") == 3
    assert await db.fetch("select * from people where id = $1", 9) == []


async def parameters(db: Database, dialect: Dialect) -> None:
    """In any order, each as often as one likes; what only looks like one is text."""
    found = await db.fetch("select id from people where id in ($2, $1, $2)", 1, 3)
    assert sorted(row["id"] for row in found) == [1, 3]
    await db.execute("insert into people (id, name) /* $7 */ values ($1, 'it''s $2 ?') -- $9\n", 4)
    assert await db.fetch_value("select name from people where id = $1", 4) == "it's $2 ?"
    await db.execute("delete from people where id = $1", 4)


async def values(db: Database, dialect: Dialect) -> None:
    names = [f"v{number}" for number in range(len(VALUES))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, dialect.types, strict=True))
    await db.execute(f"create table kinds (id int primary key, {columns})")
    marks = ", ".join(f"${number + 2}" for number in range(len(VALUES)))
    insert = f"insert into kinds (id, {', '.join(names)}) values ($1, {marks})"
    await db.execute(insert, 1, *VALUES)
    await db.execute(insert, 2, *[None for _ in VALUES])
    assert await db.bulk_insert("kinds", [(3, *VALUES)], columns=["id", *names]) == 1
    chosen = f"select {', '.join(names)} from kinds where id = $1"
    for number in (1, 3):
        row = await db.fetch_one(chosen, number)
        assert row is not None
        assert list(row) == names
        assert tuple(row.values()) == VALUES
    assert await db.fetch_one(chosen, 2) == dict.fromkeys(names)
    instant = VALUES[6]
    assert isinstance(instant, datetime)
    elsewhere = instant.astimezone(timezone(timedelta(hours=-5)))
    await db.execute("insert into kinds (id, v6) values ($1, $2)", 4, elsewhere)
    kept = await db.fetch_value("select v6 from kinds where id = $1", 4)
    assert (kept, kept.utcoffset()) == (instant, timedelta(0))


async def pages(db: Database, dialect: Dialect) -> None:
    await db.execute("create table leaves (id int primary key)")
    await db.bulk_insert("leaves", [(number,) for number in range(25)], columns=["id"])
    found = [page async for page in db.pages("select id from leaves", rows=10)]
    assert [len(page) for page in found] == [10, 10, 5]
    assert sorted(row["id"] for page in found for row in page) == list(range(25))
    for _ in range(10):  # more often than there are connections
        async with aclosing(db.pages("select id from leaves", rows=5)) as few:
            async for page in few:
                assert len(page) == 5
                break
    assert [page async for page in db.pages("select id from leaves where id = $1", 99)] == []
    assert len(await db.fetch("select id from leaves")) == 25


async def repeats(db: Database, dialect: Dialect) -> None:
    """What a handler does by it is to be such that twice is as good as once."""
    for name in ("Cy", "Di", "Di"):
        await db.execute(dialect.upsert, 5, name)
    await db.execute_many(dialect.upsert, [(5, "Di"), (5, "Ed")])
    assert await db.fetch_value("select name from people where id = $1", 5) == "Ed", "the later one wins"


async def conditions(db: Database, dialect: Dialect) -> None:
    assert await db.execute(dialect.insert_new, 6, "Flo") == 1
    assert await db.execute(dialect.insert_new, 6, "Guy") == 0
    assert await db.fetch_value("select name from people where id = $1", 6) == "Flo"


async def rows_in_bulk(db: Database, dialect: Dialect) -> None:
    await db.execute("create table bulk (id int primary key, name text)")
    columns = ["id", "name"]

    async def count() -> int:
        return int(await db.fetch_value("select count(*) from bulk"))

    assert await db.bulk_insert("bulk", [(1, "a"), (2, None)], columns=columns) == 2
    assert await db.bulk_insert("bulk", [], columns=["id"]) == 0
    assert await db.bulk_insert(f"{dialect.place}.bulk", ((n,) for n in range(3, 203)), columns=["id"]) == 200
    assert await db.fetch_one("select * from bulk where id = $1", 2) == {"id": 2, "name": None}
    assert await count() == 202
    with pytest.raises(BadInput, match="row 2"):
        await db.bulk_insert("bulk", [(301, "a"), (302, 7)], columns=columns)
    with pytest.raises(BadInput, match="row 1 has 3 values for 2 columns"):
        await db.bulk_insert("bulk", [(303, "a", 1)], columns=columns)
    with pytest.raises(BadInput, match="row 1 has 1 values for 2 columns"):
        await db.bulk_insert("bulk", [(303,)], columns=columns)

    def broken(error: Exception) -> Iterator[tuple[int]]:
        yield (304,)
        raise error

    for error in (ValueError("of the source"), TimeoutError("of the source"), OSError("of the source")):
        with pytest.raises(type(error), match="of the source"):
            await db.bulk_insert("bulk", broken(error), columns=["id"])
    with pytest.raises(Permanent, match="nowhere"):
        await db.bulk_insert("nowhere", [(1,)], columns=["id"])
    if db.capabilities.whole_bulk:
        assert await count() == 202
    else:
        assert 202 <= await count() <= 204


async def odd_names(db: Database, dialect: Dialect) -> None:
    await db.execute('create table "Mixed_Case" ("Key" int primary key, "a ""b" text)')
    for written, key in (("Mixed_Case", 1), (f'"{dialect.place}"."Mixed_Case"', 2)):
        assert await db.bulk_insert(written, [(key, "x")], columns=["Key", 'a "b']) == 1
    assert await db.fetch_one('select "a ""b" from "Mixed_Case" where "Key" = $1', 2) == {'a "b': "x"}
    for wrong in ("", "a.b.c", 'a"b', ".a", "a.", "a\0b"):
        with pytest.raises(Permanent, match="is not the name of a table"):
            await db.bulk_insert(wrong, [(1,)], columns=["id"])


async def errors(db: Database, dialect: Dialect) -> None:
    one = "select name from people where id = $1"
    for sql, args in (
        ("selekt", ()),
        ("select * from nowhere", ()),
        ("select nothing from people", ()),
        (one, ("text",)),
        (one, (2**40,)),
        (one, ()),
        (one, (1, 2)),
    ):
        for asked in (db.fetch(sql, *args), db.fetch_one(sql, *args), db.execute(sql, *args)):
            with pytest.raises(Permanent):
                await asked
        with pytest.raises(Permanent):
            await anext(db.pages(sql, *args))
    with pytest.raises(Permanent):
        await db.execute_many("insert into people (id) values ($1)", [("text",)])
    assert await db.fetch_value(one, 1) == "Ada"


async def side_by_side(db: Database, dialect: Dialect) -> None:
    asked = [db.fetch_value("select id from bulk where id = $1", number % 50 + 1) for number in range(100)]
    assert await asyncio.gather(*asked) == [number % 50 + 1 for number in range(100)]


async def cancelled_work_does_no_harm(db: Database, dialect: Dialect) -> None:
    """However often it is cancelled, and wherever: nothing is used up."""

    async def reads() -> None:
        while True:
            await db.fetch("select * from bulk")

    async def writes() -> None:
        while True:
            await db.execute("truncate leaves")
            await db.bulk_insert("leaves", [(number,) for number in range(100)], columns=["id"])

    for work in (reads, writes):
        for hundredths in range(8):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(hundredths / 100):
                    await work()
    assert await db.fetch_value("select id from bulk where id = $1", 1) == 1
