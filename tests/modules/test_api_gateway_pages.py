"""Walking pages gives each row once, by every order that there is; what is accepted is what the server takes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.log.structured import make_log
from contracts.errors import MillraceError
from contracts.resource import Resource
from modules.api_gateway import cursor
from modules.api_gateway.query import read
from modules.api_gateway.reading import Reader
from modules.api_gateway.source import Look, Source
from modules.api_gateway.statement import compiled
from modules.api_gateway.values import BY_TYPE, taken
from tests.kit.databases import Databases, opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

# Few values, so that there are ties of every kind; nulls, and the values that compare oddly.
TABLE = """
create table walked (id bigint, part text not null, n int, word text, at timestamptz, x double precision, r real,
    d date, amount numeric, yes boolean, primary key (part, id));
insert into walked select id, (array['p', 'q'])[1 + id % 2], (array[1, 2, null])[1 + id % 3],
    (array['', 'a', 'Ä', 'b,"c"', null])[1 + id % 5],
    (array['2026-01-15 08:00:00.000001+00', '-infinity', 'infinity', null])[1 + id % 4]::timestamptz,
    (array['NaN', '-0', '1e-300', '0.1', null])[1 + (id / 2) % 5]::double precision,
    (array['NaN', 'inf', '0.1', null])[1 + (id / 3) % 4]::real,
    (array['2026-01-15', 'infinity', null])[1 + id % 3]::date,
    (array['NaN', '0.10', '0.1', '-12345678901234567890.5', null])[1 + id % 5]::numeric,
    (array[true, false, null])[1 + id % 3]
from generate_series(1, 24) id;
"""
SORTABLE = ("n", "word", "at", "x", "r", "d", "amount", "yes", "part", "id")
WALKED = Resource(
    name="walked", source="walked", columns=("id", "part", *SORTABLE[:8]), key=("part", "id"), sort=SORTABLE[:8]
)
LOG = make_log(clock=SystemClock(), format="json")


@pytest.fixture(scope="module")
async def walked(databases: Databases) -> AsyncIterator[PostgresDb]:
    """One for all: nothing here changes anything."""
    async with databases.fresh() as url, opened(PostgresDb(url)) as db:
        await db.execute(TABLE)
        yield db


def orders() -> Iterator[str]:
    """Each column both ways, and each with each other one."""
    both = [(name, f"-{name}") for name in SORTABLE]
    yield from itertools.chain.from_iterable(both)
    for (a, down_a), (b, down_b) in itertools.permutations(both[:3] + both[8:9], 2):
        yield from (f"{a},{b}", f"{a},{down_b}", f"{down_a},{down_b}", f"{down_a},{b}")


async def walk(db: PostgresDb, look: Look, sort: str, limit: int) -> list[tuple[str | None, ...]]:
    """All rows by pages."""
    reader, found, word = Reader(WALKED), [], None
    while True:
        given = [("sort", sort), ("limit", str(limit)), *([("cursor", word)] if word else [])]
        query = read(WALKED, look.columns, given)
        rows = await reader.page(compiled(WALKED, query, "text"), limit, db=db, log=LOG)
        width = len(query.fields)
        found += [row[:width] for row in rows]
        if len(rows) < limit:
            return [tuple(row) for row in found]
        word = cursor.written([str(one) for one in query.sort], rows[-1][width:])


@pytest.mark.timeout(120)
async def test_by_any_order_each_row_comes_once_and_in_its_place(walked: PostgresDb) -> None:
    look = await Source(WALKED).now(walked, SystemClock())
    assert {name for name, column in look.columns.items() if not column.nullable} == {"part", "id"}
    for sort in orders():
        whole = await walk(walked, look, sort, 100)
        assert len(set(whole)) == len(whole) == 24
        assert await walk(walked, look, sort, 7) == whole, sort


async def test_a_deep_page_is_looked_up_in_the_index(walked: PostgresDb) -> None:
    look = await Source(WALKED).now(walked, SystemClock())
    place = cursor.written(["part", "id"], ["p", "10"])
    statement = compiled(WALKED, read(WALKED, look.columns, [("sort", "part"), ("cursor", place)]), "text")
    asked, args = statement.limited(5)
    async with walked.transaction() as tx:
        await tx.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        plan = "\n".join(str(row["QUERY PLAN"]) for row in await tx.fetch(f"explain {asked}", *args))
    assert "Index Cond: (ROW(part, id) > ROW('p'::text, '10'::bigint))" in plan
    assert "Sort" not in plan


ODD = {
    "int": ["0", "-0", "007", "+5", "9223372036854775807"],
    "decimal": ["1.", ".5", "+.50", "0" * 900, "9" * 1000, "-Infinity"],
    "float": ["1e400", "-1e-400", "0x1p3", "1_000", "nan", "Infinity", "٣"],
    "real": ["1e-300", "3.4028235e38", "1e-45", "nan"],
    "date": ["0001-01-01", "9999-12-31", "-infinity"],
    "timestamp": [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "2026-01-15T24:00Z",
        "2026-01-15 08:00:60Z",
    ],
    "local timestamp": ["2026-01-15T08", "2026-01-15T08:00:00,5", "infinity"],
    "uuid": ["{00000000-0000-0000-0000-000000000000}", "urn:uuid:" + "0" * 32, "0" * 32],
    "text": ["\u200b", "\\", "'", "%s", "$1", "\U0001f600"],
    "bool": ["true"],
}


async def test_what_is_accepted_is_what_the_server_takes(walked: PostgresDb) -> None:
    tried = 0
    for type_ in {one.name: one for one in BY_TYPE.values() if one.take}.values():
        for text in ODD[type_.name]:
            try:
                value = taken(type_, text)
            except ValueError:
                continue
            tried += 1
            try:
                assert await walked.fetch_value(f"select $1::text::{type_.sql} is not null", value)
            except MillraceError as error:
                raise AssertionError(f"{type_.name} {text!r} was taken as {value!r}: {error}") from None
    assert tried > 25
