"""What is asked of the table, and what of the cache: with a table that counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.cache.memory import MemoryCache
from adapters.clock.manual import ManualClock
from adapters.metrics.memory import MemoryMetrics
from contracts.dataset import Column
from contracts.enrichment import Added, Enrichment, Lookup
from contracts.errors import Permanent, Unavailable
from contracts.event import Event
from modules.event_enricher.measures import LOOKUPS
from modules.event_enricher.references import References

pytestmark = pytest.mark.anyio

EVENT = Event(name="e", topic="es", columns=(Column(name="id", type="int"), Column(name="tag")))
LOOKUP = Lookup(table="s.t", key="id", add=(Added(column="name"), Added(column="id", name="again")), fresh_s=60)


class CountedTable:
    """A table that has these rows, and remembers what it was asked for."""

    def __init__(self, rows: dict[Any, str]) -> None:
        self.rows = rows
        self.asked: list[list[Any]] = []
        self.sql = ""
        self.refusal: Exception | None = None

    async def fetch(self, sql: str, keys: list[Any]) -> list[dict[str, Any]]:
        if self.refusal is not None:
            raise self.refusal
        self.sql = sql
        self.asked.append(sorted(keys))
        return [{"key": key, "v0": self.rows[key], "v1": key} for key in keys if key in self.rows]


class World:
    def __init__(self, lookup: Lookup = LOOKUP) -> None:
        self.clock = ManualClock()
        self.cache = MemoryCache(self.clock)
        self.metrics = MemoryMetrics()
        self.table = CountedTable({1: "one", 2: "two"})
        self.lookup = lookup

    async def of(self, *keys: Any, anew: bool = False) -> dict[Any, list[Any]]:
        enrichment = Enrichment(name="x", event="e", to="es.x", lookup=self.lookup, side="y")
        references = References(enrichment, self.lookup, EVENT)
        db: Any = self.table
        found = await references.of(set(keys), db=db, cache=self.cache, metrics=self.metrics, anew=anew)
        return {key: [msgspec.json.decode(value) for value in row] for key, row in found.items()}

    def counted(self) -> dict[str, float]:
        outcomes = ("cache", "table", "missing", "known_missing")
        return {one: self.metrics.value(LOOKUPS, enrichment="x", outcome=one) for one in outcomes}


async def test_a_batch_is_one_statement_and_then_none() -> None:
    world = World()
    assert await world.of(1, 2, 3) == {1: ["one", 1], 2: ["two", 2]}
    assert await world.of(1, 2, 3) == {1: ["one", 1], 2: ["two", 2]}
    assert world.table.asked == [[1, 2, 3]]
    assert world.counted() == {"cache": 2, "table": 2, "missing": 1, "known_missing": 1}
    assert world.table.sql == (
        'select "id"::bigint as key, "name" as v0, "id" as v1 from "s"."t" where "id" = any($1::bigint[])'
    )


async def test_what_is_known_gets_old() -> None:
    world = World(msgspec.structs.replace(LOOKUP, fresh_s=60, missing_s=5))
    await world.of(1, 3)
    world.table.rows |= {1: "uno", 3: "tres"}
    await world.clock.advance(4)
    assert await world.of(1, 3) == {1: ["one", 1]}
    await world.clock.advance(2)
    assert await world.of(1, 3) == {1: ["one", 1], 3: ["tres", 3]}
    await world.clock.advance(55)
    assert await world.of(1, 3) == {1: ["uno", 1], 3: ["tres", 3]}
    assert world.table.asked == [[1, 3], [3], [1]]


async def test_zero_keeps_nothing() -> None:
    world = World(msgspec.structs.replace(LOOKUP, fresh_s=0, missing_s=0))
    for _ in range(2):
        await world.of(1, 3)
    assert world.table.asked == [[1, 3], [1, 3]]


async def test_one_that_has_waited_asks_the_table_itself() -> None:
    world = World()
    await world.of(1, 3)
    world.table.rows[3] = "three"
    assert await world.of(1, 3) == {1: ["one", 1]}
    assert await world.of(1, 3, anew=True) == {1: ["one", 1], 3: ["three", 3]}
    assert await world.of(3) == {3: ["three", 3]}
    assert world.table.asked == [[1, 3], [3]]


async def test_an_edit_of_the_declaration_forgets() -> None:
    world = World()
    await world.of(1)
    world.lookup = msgspec.structs.replace(LOOKUP, add=tuple(reversed(LOOKUP.add)))
    await world.of(1)
    assert world.table.asked == [[1], [1]]


async def test_a_key_that_no_table_can_have_is_missing() -> None:
    world = World(msgspec.structs.replace(LOOKUP, by="tag"))
    assert await world.of("a\0b", "c") == {}
    assert world.table.asked == [["c"]]


async def test_a_table_that_refuses_the_question_is_something_that_is_down() -> None:
    world = World()
    world.table.refusal = Permanent('relation "s.t" does not exist')
    with pytest.raises(Unavailable, match=r'table s\.t of enrichment x is not available: relation "s\.t" does not'):
        await world.of(1)
