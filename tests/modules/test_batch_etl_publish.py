"""Rows as events: what a load brings into the table is published once, in the order of its time, with the load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.batch_etl import BatchEtlReport, RunBatchEtl
from contracts.dataset import Column, Dataset, Publish
from contracts.event import Event
from contracts.message import Envelope
from modules.batch_etl import module
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import HarnessBus, JobFailed, Running, harness
from tests.modules.windows_kit import READING, T0

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

COLUMNS = (
    Column(name="id", type="int", nullable=False),
    *(msgspec.structs.replace(column, default=None) for column in READING.columns),
    Column(name="note"),
)
HEADER = "id,sensor,at,value,level,count,good,note\n"


def readings(**settings: Any) -> Dataset:
    given = {"name": "readings", "table": "lab.readings", "source": "*.csv", "columns": COLUMNS, "key": ("id",)}
    made = Dataset(**{**given, "publish": Publish(event="reading"), **settings})
    assert made.faults(READING) == []
    return made


def row(number: int, *, value: str = "1.50", at_s: float = 0.0, count: str = "1") -> str:
    return f"{number},s{number % 3},{(T0 + timedelta(seconds=at_s)).isoformat()},{value},0.1,{count},true,n\n"


class Lab:
    """A folder of files, and a worker that loads them."""

    def __init__(self, running: Running, root: Path, catalog: list[msgspec.Struct]) -> None:
        self.running = running
        self.root = root
        self.catalog = catalog

    def declares(self, dataset: Dataset, event: Event = READING) -> None:
        self.catalog[:] = [dataset, event]

    def put(self, name: str, *rows: str) -> None:
        (self.root / name).write_text(HEADER + "".join(rows))

    async def load(self, **options: Any) -> tuple[BatchEtlReport, list[Envelope]]:
        """The report, and what was published with the load."""
        bus = self.running.bus
        assert isinstance(bus, HarnessBus)
        before = len(bus.published)
        report = await self.running.job("run.batch_etl", RunBatchEtl(dataset="readings", **options))
        await self.running.settled()
        return report, [one for one in bus.published[before:] if one.address == "readings"]


class Edited(DeclaredCatalog):
    """Whose declarations change."""

    def __init__(self, declared: list[msgspec.Struct]) -> None:
        super().__init__()
        self._declared = declared  # type: ignore[assignment]


@pytest.fixture
async def lab(db: PostgresDb, tmp_path: Path) -> AsyncIterator[Lab]:
    catalog: list[msgspec.Struct] = []
    async with harness(module, db=db, files=LocalFiles(tmp_path), catalog=Edited(catalog)) as running:
        yield Lab(running, tmp_path, catalog)


def ids_in(published: list[Envelope]) -> list[int]:
    """Which rows they are of, by their values."""
    return [int(float(msgspec.json.decode(one.body)["value"])) for one in published]


async def test_what_is_loaded_is_published_once_and_in_the_order_of_its_time(lab: Lab, db: PostgresDb) -> None:
    lab.declares(readings())
    lab.put(
        "a.csv",
        *(row(number, value=f"{number}.25", at_s=100 - number) for number in range(8)),
        row(3, value="33.50", at_s=1),
        "x,not,a,row,at,all,really,no\n",
    )
    report, published = await lab.load()
    assert (report.loaded, report.duplicate, report.rejected, report.published) == (8, 1, 1, 8)
    assert ids_in(published) == [33, 7, 6, 5, 4, 2, 1, 0]
    first = published[1]
    assert msgspec.json.decode(first.body) == {
        "sensor": "s1", "at": "2026-01-01T00:01:33Z", "value": "7.25", "level": 0.1, "count": 1, "good": True,
    }  # fmt: skip
    assert (first.key, first.headers["source-id"].partition(":")[0]) == ("s1", "readings")
    assert len({one.id for one in published}) == 8
    for options in ({}, {"force": True}):
        report, again = await lab.load(**options)
        assert (report.published, again) == (0, [])
    await db.execute("truncate lab.readings")
    report, again = await lab.load()
    assert report.published == 8
    assert [one.id for one in again] == [one.id for one in published], "the same row is the same event"


@pytest.mark.parametrize("changed", [False, True])
async def test_only_what_a_merge_brings_is_published(lab: Lab, *, changed: bool) -> None:
    lab.declares(readings(publish=Publish(event="reading", changed=changed)))
    lab.put("a.csv", *(row(number, value=f"{number}.00") for number in range(5)))
    _, first = await lab.load()
    lab.put("b.csv", row(1, value="1.00"), row(2, value="22.00"), row(9, value="9.00"))
    report, second = await lab.load()
    assert (report.loaded, report.updated) == (1, 1)
    assert sorted(ids_in(second)) == ([9, 22] if changed else [9])
    assert report.published == len(second)
    assert not {one.id for one in first} & {one.id for one in second}


async def test_what_is_appended_is_published_where_its_key_is_new(lab: Lab) -> None:
    lab.declares(readings(mode="append"))
    lab.put("a.csv", *(row(number, value=f"{number}.00") for number in range(3)))
    await lab.load()
    lab.put("b.csv", row(1, value="11.00"), row(3, value="3.00"), row(4, value="4.00"))
    report, published = await lab.load()
    assert (report.loaded, report.duplicate, report.published) == (2, 1, 2)
    assert ids_in(published) == [3, 4]


async def test_a_dry_run_publishes_nothing(lab: Lab) -> None:
    lab.declares(readings())
    lab.put("a.csv", row(1))
    report, published = await lab.load(dry_run=True)
    assert (report.loaded, report.published, published) == (1, 0, [])


async def test_a_row_that_is_no_such_event_keeps_the_whole_load_from_happening(lab: Lab, db: PostgresDb) -> None:
    bounded = tuple(
        msgspec.structs.replace(column, max=10) if column.name == "count" else column for column in READING.columns
    )
    lab.declares(readings(), msgspec.structs.replace(READING, columns=bounded))
    lab.put("a.csv", row(1), row(2, count="11"), row(3))
    with pytest.raises(JobFailed) as failed:
        await lab.load()
    assert "dataset readings: rows that are no event reading, so nothing was loaded" in str(failed.value)
    assert "the row 2: Expected `int` <= 10" in str(failed.value)
    assert await db.fetch_value("select to_regclass('lab.readings')") is None
    assert await lab.running.ledger.outbox.backlog() == 0


async def test_many_rows_are_published_some_at_a_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules.batch_etl import publish

    monkeypatch.setattr(publish, "ROWS", 7)
    lab.declares(readings())
    lab.put("a.csv", *(row(number, value=f"{number}.00", at_s=number) for number in range(40)))
    report, published = await lab.load()
    assert report.published == 40
    assert sorted(ids_in(published)) == list(range(40))
    for sensor in ("s0", "s1", "s2"):
        of_one = [int(float(msgspec.json.decode(one.body)["value"])) for one in published if one.key == sensor]
        assert of_one == sorted(of_one)
