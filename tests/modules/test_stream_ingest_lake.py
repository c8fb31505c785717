"""Events into a lake: right-sized files by date, whole or not listed, each event in one of them."""

from __future__ import annotations

import io
import os
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from adapters.clock.manual import ManualClock
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.errors import BadInput, Conflict, Transient
from contracts.event import Event, Lake
from contracts.stream_ingest import BatchLanded, CleanLake, ListLake
from modules.stream_ingest import lake as lake_files
from modules.stream_ingest import orphans
from modules.stream_ingest.measures import EVENTS, LAKE_BYTES, LAKE_FILES
from modules.stream_ingest.module import clean_lake, list_lake
from tests.kit.catalog import DeclaredCatalog
from tests.modules.batch_etl_kit import Etl
from tests.modules.batch_etl_kit import declared as dataset
from tests.modules.stream_ingest_kit import NOW, ORDER_COLUMNS, Crashed, Lander, days_ago, declared, order

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

AT_ONCE: dict[str, Any] = {"path": "lake/orders", "rows": 1}
TODAY = "lake/orders/date=2026-01-15/orders.placed-0"


def event(**lake: Any) -> Event:
    return declared({"lake": {"path": "lake/orders", **lake}})


async def test_a_file_is_written_when_there_is_enough_for_it(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=5))
    await ingest.land(order(1), order(2))
    await ingest.land(order(3), b"x")
    assert (await ingest.manifest(), ingest.on_disk()) == ([], [])
    await ingest.land(order(4), order(5), order(6))
    assert await ingest.manifest() == [(f"{TODAY}-0-6.parquet", 6)]
    assert ids(tmp_path / f"{TODAY}-0-6.parquet") == [1, 2, 3, 4, 5, 6]
    assert ingest.kept == {}
    assert [position for position, *_ in await ingest.refused()] == [3]
    await ingest.land(*map(order, range(7, 12)))
    assert [path for path, _ in await ingest.manifest()] == [f"{TODAY}-0-6.parquet", f"{TODAY}-7-11.parquet"]


async def test_a_file_is_written_when_its_time_has_come_though_nothing_comes(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(wait_s=60))
    await ingest.land(order(1))
    await ingest.wait(59)
    await ingest.tick()
    assert await ingest.manifest() == []
    await ingest.wait(1)
    await ingest.tick()
    assert await ingest.manifest() == [(f"{TODAY}-0-0.parquet", 1)]
    await ingest.wait(60)
    await ingest.tick()
    assert len(await ingest.manifest()) == 1


async def test_there_is_a_file_for_each_date_in_utc(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=3))
    await ingest.land(order(1), order(2, placed_at="2026-01-15T00:30:00+02:00"), order(3, at=days_ago(3)))
    assert await ingest.manifest() == [
        ("lake/orders/date=2026-01-12/orders.placed-0-0-2.parquet", 1),
        ("lake/orders/date=2026-01-14/orders.placed-0-0-2.parquet", 1),
        (f"{TODAY}-0-2.parquet", 1),
    ]
    dates = await ingest.rows("select event_date from millrace.lake_files order by 1")
    assert dates == [(date(2026, 1, day),) for day in (12, 14, 15)]


@pytest.mark.parametrize(("form", "ending"), [("parquet", "parquet"), ("json", "jsonl"), ("csv", "csv")])
async def test_batch_etl_reads_each_format(db: PostgresDb, tmp_path: Path, form: str, ending: str) -> None:
    ingest = Lander(db, tmp_path, event(rows=2, format=form))
    await ingest.land(order(1, amount="12.30"), order(2, who=None, amount=None))
    [(path, rows)] = await ingest.manifest()
    assert (path, rows) == (f"{TODAY}-0-1.{ending}", 2)
    report = await Etl(db, tmp_path).run(orders(ending))
    assert (report.loaded, report.rejected) == (2, 0)
    assert await ingest.rows("select * from loaded order by order_id") == [
        (1, "ada", NOW, Decimal("12.30")),
        (2, None, NOW, None),
    ]


async def test_batch_etl_reads_the_whole_lake_or_days_of_it(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=2))
    for batch in (order(1), order(2, at=days_ago(1))), (order(3), order(4, at=days_ago(1))):
        await ingest.land(*batch)
    etl = Etl(db, tmp_path)
    report = await etl.run(orders(), date=date(2026, 1, 14))
    assert (report.files_read, report.loaded) == (2, 2)
    report = await etl.run(orders(), from_date=date(2026, 1, 14), to_date=date(2026, 1, 15))
    assert (report.files_read, report.files_skipped, report.loaded) == (2, 2, 2)
    assert await ingest.rows("select order_id from loaded order by 1") == [(1,), (2,), (3,), (4,)]
    report = await etl.run(orders(table="other"))
    assert (report.files_read, report.loaded) == (4, 4)
    with pytest.raises(BadInput, match="the lake has no file of 2026-01-01: lake:order_placed"):
        await etl.run(orders(), date=date(2026, 1, 1))
    with pytest.raises(BadInput, match=r"has files in parquet .* the dataset declares csv"):
        await etl.run(orders("csv"))


async def test_batch_etl_appends_each_file_once_though_two_have_the_same_content(
    db: PostgresDb, tmp_path: Path
) -> None:
    ingest = Lander(db, tmp_path, event(rows=1, format="json"))
    etl = Etl(db, tmp_path)
    appended = orders("jsonl", mode="append", key=[])
    await ingest.land(order(1))
    await ingest.land(order(1))
    first = await etl.run(appended)
    await ingest.land(order(1))
    second = await etl.run(appended)
    assert (first.loaded, second.loaded, second.files_skipped) == (2, 1, 2)
    assert (await etl.run(appended)).loaded == 0
    assert await ingest.rows("select count(*) from loaded") == [(3,)]


async def test_a_crash_between_file_and_commit_shows_nothing_and_lands_once(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=2))
    await ingest.land(order(1))
    for _ in range(2):
        with pytest.raises(Crashed):
            await ingest.land(order(2), order(3), crash=True)
    orphaned = [f"{TODAY}-0-2-1.parquet", f"{TODAY}-0-2.parquet"]
    assert (await ingest.manifest(), ingest.on_disk()) == ([], orphaned)
    before = {path: (tmp_path / path).read_bytes() for path in orphaned}
    await ingest.land(order(2), order(3))
    assert await ingest.manifest() == [(f"{TODAY}-0-2-2.parquet", 3)]
    assert before == {path: (tmp_path / path).read_bytes() for path in orphaned}, "nobody writes over a file"
    report = await Etl(db, tmp_path).run(orders())
    assert report.loaded == 3


async def test_a_topic_made_anew_writes_over_nothing(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=1))
    for number in (1, 2):
        await ingest.land(order(number), positions=range(1))
    assert [ids(tmp_path / path) for path, _ in sorted(await ingest.manifest(), key=lambda one: len(one[0]))] == [
        [1],
        [2],
    ]


async def test_names_that_are_all_taken_end_the_attempt(
    db: PostgresDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_files, "TRIES", 2)
    ingest = Lander(db, tmp_path, event(rows=1))
    for _ in range(2):
        await ingest.land(order(1), positions=range(1))
    with pytest.raises(Transient, match="are taken: run `millrace lake clean`"):
        await ingest.land(order(1), positions=range(1))


async def test_only_old_orphans_are_removed(db: PostgresDb, tmp_path: Path) -> None:
    declaration = event(rows=1)
    ingest = Lander(db, tmp_path, declaration)
    await ingest.land(order(1))
    for number in (2, 3):
        with pytest.raises(Crashed):
            await ingest.land(order(number), positions=range(number, number + 1), crash=True)
    listed, old, young = f"{TODAY}-0-0.parquet", f"{TODAY}-2-2.parquet", f"{TODAY}-3-3.parquet"
    others = [
        "lake/orders/README.md",
        "lake/orders/date=2026-01-15/notes.parquet",
        "lake/orders2/date=2026-01-15/x-0-0-0.csv",
    ]
    for path in others:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("somebody else's")
    long_ago = (SystemClock().now() - timedelta(hours=2)).timestamp()
    for path in (listed, old, *others):
        os.utime(tmp_path / path, (long_ago, long_ago))
    catalog, clock, files = DeclaredCatalog(declaration), SystemClock(), LocalFiles(tmp_path)
    [told] = await clean_lake(CleanLake(dry_run=True), catalog, db, files, clock)
    assert (told.files, ingest.on_disk()) == ((old,), sorted([listed, old, young, *others]))
    [done] = await clean_lake(CleanLake(lake="order_placed"), catalog, db, files, clock)
    assert (done, ingest.on_disk()) == (told, sorted([listed, young, *others]))
    [again] = await clean_lake(CleanLake(), catalog, db, files, clock)
    assert again.files == ()


async def test_two_do_not_clean_one_lake_at_once(db: PostgresDb, tmp_path: Path) -> None:
    async with db.transaction() as tx:
        await tx.fetch_value("select pg_advisory_xact_lock(hashtextextended('lake lake/orders', 0))")
        with pytest.raises(Conflict, match="is being cleaned already"):
            await orphans.clean("order_placed", Lake(path="lake/orders/"), db, LocalFiles(tmp_path), NOW, dry_run=False)


async def test_many_files_are_looked_up_in_steps(
    db: PostgresDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_ASKED_AT_ONCE", 2)
    ingest = Lander(db, tmp_path, event(rows=1))
    for number in range(1, 6):
        await ingest.land(order(number))
        with pytest.raises(Crashed):
            await ingest.land(order(number), positions=range(number + 90, number + 91), crash=True)
    later = ManualClock(start_at=SystemClock().now() + timedelta(hours=2))
    [done] = await clean_lake(CleanLake(), DeclaredCatalog(ingest.event), db, LocalFiles(tmp_path), later)
    assert len(done.files) == 5
    assert ingest.on_disk() == [path for path, _ in await ingest.manifest()]


async def test_a_table_and_a_lake_take_the_same_events(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, declared({"table": "orders", "key": ["order_id"], "lake": AT_ONCE | {"rows": 3}}))
    await ingest.prepare()
    await ingest.land(order(1), order(1))
    await ingest.land(order(2))
    assert await ingest.rows("select order_id from orders order by 1") == [(1,), (2,)]
    [(path, _)] = await ingest.manifest()
    assert ids(tmp_path / path) == [1, 1, 2]


async def test_files_are_announced_when_they_are_whole(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=3))
    await ingest.land(order(1), b"x")
    await ingest.land(order(2), order(3, at=days_ago(1)))
    [(yesterday, _), (today, _)] = await ingest.manifest()
    assert ingest.emitted == [
        BatchLanded(
            event="order_placed",
            topic="orders.placed",
            partition=0,
            first_position=0,
            last_position=3,
            rows=3,
            quarantined=1,
            files=(yesterday, today),
        )
    ]
    sizes = await ingest.rows("select sum(bytes)::bigint from millrace.lake_files")
    assert ingest.metrics.value(LAKE_FILES, event="order_placed") == 2
    assert [(ingest.metrics.value(LAKE_BYTES, event="order_placed"),)] == sizes
    assert ingest.metrics.value(EVENTS, event="order_placed", outcome="landed") == 3


async def test_nothing_is_announced_where_that_is_declared(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, declared({"lake": AT_ONCE, "announce": "nothing"}))
    await ingest.land(order(1))
    assert len(await ingest.manifest()) == 1
    assert ingest.emitted == []


async def test_what_a_new_declaration_refuses_of_what_waited_is_quarantined(db: PostgresDb, tmp_path: Path) -> None:
    before = Lander(db, tmp_path, event(rows=9))
    await before.land(order(1), order(2, amount="100"))
    columns = [*ORDER_COLUMNS[:3], ORDER_COLUMNS[3] | {"max": 50}]
    after = Lander(db, tmp_path, declared({"lake": AT_ONCE}, columns))
    after.kept, after.next = before.kept, 2
    await after.land(order(3))
    assert await after.manifest() == [(f"{TODAY}-0-2.parquet", 2)]
    assert [one[:3] for one in await after.refused()] == [(0, "amount", "not allowed")]
    assert after.emitted[0].quarantined == 1


async def test_the_manifest_is_listed_the_newest_first(db: PostgresDb, tmp_path: Path) -> None:
    ingest = Lander(db, tmp_path, event(rows=1))
    await ingest.land(order(1, at=days_ago(1)))
    await ingest.land(order(2), positions=range(1 << 80, (1 << 80) + 1))
    listed = await list_lake(ListLake(), db)
    assert [(one.path.rpartition("/")[2], one.rows, one.first_position) for one in listed] == [
        (f"orders.placed-0-{1 << 80}-{1 << 80}.parquet", 1, 1 << 80),
        ("orders.placed-0-0-0.parquet", 1, 0),
    ]
    assert [one.event_date for one in await list_lake(ListLake(date=date(2026, 1, 14)), db)] == [date(2026, 1, 14)]
    assert await list_lake(ListLake(lake="other"), db) == []


def ids(path: Path) -> list[Any]:
    found: list[Any] = pq.read_table(io.BytesIO(path.read_bytes())).column("order_id").to_pylist()
    return found


def orders(ending: str = "parquet", **settings: Any) -> Any:
    columns = [{name: value for name, value in column.items() if name != "source"} for column in ORDER_COLUMNS]
    plain = {"name": "loaded", "table": "loaded", "source": "lake:order_placed", "key": ["order_id"]}
    return dataset(columns, **(plain | {"format": {"type": ending}} | settings))


def test_a_folder_outside_of_the_root_is_refused() -> None:
    for path in ("/lake", "a/../b", "/", "a\\b"):
        land = {"lake": {"path": path}}
        made = msgspec.convert(
            {"name": "e", "topic": "t", "columns": ORDER_COLUMNS, "time": {"column": "placed_at"}, "land": land}, Event
        )
        assert [path for path, _ in made.faults()] == ["land.lake.path"]
