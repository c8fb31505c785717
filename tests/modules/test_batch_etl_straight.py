"""A first load that goes straight into the table comes to what sorting everything comes to."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adapters.database.postgres import PostgresDb
from contracts.dataset import Dataset
from modules.batch_etl import straight
from modules.batch_etl.cast import SEQ, Caster
from modules.batch_etl.load import Target
from modules.batch_etl.record import Counts
from modules.batch_etl.rising import Rising
from modules.batch_etl.rules import Rules
from modules.batch_etl.sorter import Sorter
from tests.modules.batch_etl_kit import Etl, adds_up, declared

pytestmark = pytest.mark.anyio

COLUMNS: list[dict[str, Any]] = [
    {"name": "n", "type": "int"}, {"name": "t", "type": "text"}, {"name": "d", "type": "date"},
    {"name": "f", "type": "float"}, {"name": "word", "type": "text"}, {"name": "at", "type": "timestamp"},
    {"name": "place", "type": "int"},
]  # fmt: skip
KEEPS: list[dict[str, Any]] = [{"keep": "first"}, {"keep": "last"}]
KEEPS += [{"keep": keep, "by": by} for keep in ("highest", "lowest") for by in ("f", "word", "at")]
KEYS = [["n"], ["t"], ["n", "t"], ["d", "n"]]
WORDS = ["", "a", "B", "b", "Z", "é", "z"]


def rows(made: random.Random, count: int) -> list[tuple[Any, ...]]:
    """Mostly rising, with keys that come again, rows that come too early or late, and nulls."""
    out = []
    for place in range(count):
        n = place if made.random() < 0.7 else made.randrange(count)
        out.append(
            (
                n, f"{n // 3:04d}{made.choice('aé')}", f"2025-01-{1 + n // 20:02d}",
                made.choice([None, "1.5", "-2", "0"]), made.choice([None, *WORDS]),
                made.choice([None, "2025-01-01T00:00:00Z", "2024-12-31T23:59:59.5Z"]), place,
            )
        )  # fmt: skip
    return out


def typed(dataset: Dataset, some: list[tuple[Any, ...]]) -> pl.DataFrame:
    texts = [tuple(None if value is None else str(value) for value in row) for row in some]
    raw = pl.DataFrame(texts, schema={column["name"]: pl.String for column in COLUMNS}, orient="row")
    raw = raw.with_columns(pl.col("word").replace("", None))
    cast = Caster(Rules(dataset)).cast(raw, pl.Series([row[-1] for row in some], dtype=pl.Int64))
    assert not cast.rejected
    return cast.frame


@pytest.mark.parametrize("key", KEYS, ids="-".join)
@pytest.mark.parametrize("keep", KEEPS, ids=lambda keep: "-".join(keep.values()))
async def test_as_the_sorter_has_it(db: PostgresDb, keep: dict[str, str], key: list[str]) -> None:
    dataset = declared(COLUMNS, key=key, duplicates=keep)
    settled = 0
    for seed in range(3):
        made = random.Random(seed)
        some = rows(made, 200)
        frames = [typed(dataset, some[at : at + 50]) for at in range(0, len(some), 50)]
        expected = Sorter(dataset.key, dataset.duplicates)
        for frame in frames:
            expected.add(frame)
        winners = {row[-1] for frame in expected.frames() for row in frame.drop(SEQ).rows()}

        async def given(frames: list[pl.DataFrame] = frames) -> AsyncGenerator[pl.DataFrame]:
            for frame in frames:
                yield frame

        counts, held = Counts(), Sorter(dataset.key, dataset.duplicates)
        async with db.transaction() as tx:
            target = Target(tx, dataset, Rules(dataset))
            await target.lock()
            await target.prepare()
            await target.load(given(), held, counts, None)
        assert {row["place"] for row in await db.fetch("select place from orders")} == winners
        assert (counts.loaded, counts.duplicate) == (len(winners), 200 - len(winners))
        assert await db.fetch_value("select count(*) from pg_index where indrelid = 'orders'::regclass") == 1
        settled += 0 < held.rows < 200
        await db.execute("drop table orders")
    assert settled == 3  # the case that this is about


THINGS = declared(
    [{"name": "id", "type": "int"}, {"name": "value", "type": "int"}],
    name="things", table="things", source="*.csv", key=["id"], duplicates={"keep": "last"},
)  # fmt: skip


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    return Etl(db, tmp_path)


async def test_several_files_and_rejected_rows_among_duplicates(etl: Etl) -> None:
    etl.put("1.csv", "id,value\n1,1\n2,1\n4,1\nx,1\n2,bad\n3,1\n")
    etl.put("2.csv", "id,value\n4,2\n5,2\n4,bad\n1,\n6,2\n")
    report = await etl.run(THINGS)
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (11, 6, 2, 3)
    assert adds_up(report)
    loaded = await etl.rows("select id, value from things order by id")
    assert loaded == [(1, None), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert [line[:2] for line in await etl.quarantine(THINGS)] == [("1.csv", 5), ("1.csv", 6), ("2.csv", 4)]


@pytest.mark.parametrize("held_rows", [0, 1, 100])
async def test_out_of_order_after_a_good_beginning(etl: Etl, monkeypatch: pytest.MonkeyPatch, held_rows: int) -> None:
    monkeypatch.setattr(straight, "Rising", partial(Rising, held_rows=held_rows))
    etl.put("1.csv", "id,value\n" + "".join(f"{n},1\n" for n in range(10, 20)))
    etl.put("2.csv", "id,value\n" + "".join(f"{n},2\n" for n in range(15)) + "x,2\n")
    report = await etl.run(THINGS)
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (26, 20, 5, 1)
    assert await etl.rows("select sum(value), count(*) from things") == [(35, 20)]
    assert (await etl.run(THINGS)).files_skipped == 2
    again = [line for line, _ in etl.log.lines if line == "out of order"]
    assert len(again) == (held_rows < 100)


async def test_a_loser_never_meets_the_table_s_own_constraints(etl: Etl) -> None:
    """Where more than the key can keep a row out, only the winners are shown to the table."""
    await etl.db.execute("create table things (id bigint primary key, value bigint unique check (value <> 7))")
    etl.put("1.csv", "id,value\n1,5\n2,7\n3,6\n1,8\n2,5\n")
    report = await etl.run(THINGS)
    assert (report.loaded, report.duplicate) == (3, 2)
    assert await etl.rows("select id, value from things order by id") == [(1, 8), (2, 5), (3, 6)]


@pytest.mark.parametrize(
    "made",
    [
        "create table things (id bigint primary key, value bigint)",
        "create table things (id bigint not null, value bigint); create unique index on things (id)",
    ],
)
async def test_an_empty_table_keeps_its_key(etl: Etl, made: str) -> None:
    await etl.db.execute(made)
    etl.put("1.csv", "id,value\n1,5\n2,7\n3,6\n1,8\n2,5\n")
    assert (await etl.run(THINGS)).loaded == 3
    assert await etl.rows("select id, value from things order by id") == [(1, 8), (2, 5), (3, 6)]
    assert await etl.rows("select indisunique from pg_index where indrelid = 'things'::regclass") == [(True,)]


async def test_a_file_that_turns_out_bad_leaves_no_table(etl: Etl) -> None:
    etl.put("1.csv", "id,value\n1,5\n")
    etl.put("2.csv", "")
    with pytest.raises(Exception, match=r"^2.csv is empty"):
        await etl.run(THINGS)
    assert await etl.rows("select to_regclass('things')") == [(None,)]
