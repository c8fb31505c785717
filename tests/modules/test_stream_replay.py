"""The module in the worker that ships: what lies on a topic is published once more, and counts as it did when it came;
so does what is loaded from a file."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.bus.memory.log import MemoryLog
from adapters.catalog.yaml_files import YamlCatalog
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.aggregation import Aggregation, Results
from contracts.batch_etl import RunBatchEtl
from contracts.dataset import Dataset, Publish
from contracts.event import Event
from contracts.job import JobState
from contracts.message import Envelope
from contracts.stream_replay import RunStreamReplay, StreamReplayReport
from modules import batch_etl, metric_aggregator, stream_replay
from tests.kit import taxi_windows
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import HarnessBus, JobFailed, Running, harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TRIPS = 1_500
KEY = ("vendor_id", "pickup_datetime", "dropoff_datetime", "pickup_location_id", "dropoff_location_id")


def some_trips(reference: Path) -> tuple[list[dict[str, str]], list[tuple[str, bytes]]]:
    """Rows of the reference file with a key of their own, and the same as messages."""
    with (reference / taxi_windows.FILE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first: dict[tuple[str, ...], int] = {}
    for at, row in enumerate(rows):
        first.setdefault(tuple(row[name] for name in KEY), at)
    chosen = sorted(first.values())[:TRIPS]
    messages = taxi_windows.trips(reference)
    return [rows[at] for at in chosen], [messages[at] for at in chosen]


def declared(reference: Path) -> list[Event | Aggregation | Dataset]:
    """Three topics of trips, and over each the same windows; those called strict drop what comes late."""
    answer = taxi_windows.answers(reference)["tumbling_1h"]
    found: list[Event | Aggregation | Dataset] = []
    for name in ("came", "again", "file"):
        found.append(msgspec.structs.replace(taxi_windows.trip_event(f"trips.{name}"), name=name))
        made = taxi_windows.aggregation(name, answer)
        found.append(msgspec.structs.replace(made, event=name))
        strict = msgspec.structs.replace(
            made,
            name=f"{name}_strict",
            event=name,
            to=Results(table=f"{name}_strict", changes=True),
            disorder_s=3600.0,
            lateness_s=0.0,
            late="drop",
        )
        found.append(strict)
    trips = YamlCatalog(taxi_windows.ROOT / "catalog").dataset("trips")
    made_of = msgspec.structs.replace(trips, source="trips.csv", publish=Publish(event="file"))
    assert made_of.faults(found[-3]) == []  # type: ignore[arg-type]
    return [*found, made_of]


async def windows(db: PostgresDb, table: str) -> list[Any]:
    columns = "pickup_location_id, window_start, window_end, n, n_value, total, least, most, events, closed"
    return await db.fetch(f'select {columns} from "{table}" order by 1, 2')  # noqa: S608 - a name of ours


@pytest.mark.usefixtures("unwatched")
async def test_what_is_replayed_and_what_is_loaded_counts_as_what_came(
    db: PostgresDb, tmp_path: Path, reference_data: Path
) -> None:
    rows, messages = some_trips(reference_data)
    with (tmp_path / "trips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    now = SystemClock().now()
    modules = (metric_aggregator.module, stream_replay.module, batch_etl.module)
    catalog = DeclaredCatalog(*declared(reference_data))
    async with harness(*modules, db=db, files=LocalFiles(tmp_path), catalog=catalog) as running:
        await running.bus.publish(
            *(
                Envelope(id=f"trip-{n}", address="trips.came", body=body, key=key, published_at=now)
                for n, (key, body) in enumerate(messages)
            )
        )
        await running.settled()
        replayed = await running.job("run.stream_replay", RunStreamReplay(topic="trips.came", into="trips.again"))
        loaded = await running.job("run.batch_etl", RunBatchEtl(dataset="trips"))
        await running.settled()
        assert await running.dead_letters() == []
    assert (replayed.messages, loaded.loaded, loaded.published) == (TRIPS, TRIPS, TRIPS)
    came = await windows(db, "came")
    assert len(came) > 1_000
    assert sum(window["events"] for window in came) == TRIPS
    assert await windows(db, "again") == came
    assert await windows(db, "file") == came
    strict = await windows(db, "came_strict")
    assert 0 < sum(window["events"] for window in strict) < TRIPS, "some came late, which is the point"
    assert await windows(db, "again_strict") == strict, "the order is the same, so the same ones are late"
    in_order = await windows(db, "file_strict")
    assert sum(window["events"] for window in in_order) == TRIPS, "a file is published in order of time"


# What a replay is.


@pytest.fixture
async def running(db: PostgresDb) -> AsyncIterator[Running]:
    async with harness(stream_replay.module, db=db) as made:
        yield made


def bus_of(running: Running) -> HarnessBus:
    assert isinstance(running.bus, HarnessBus)
    return running.bus


async def came(running: Running, count: int, *, topic: str = "notes", first: int = 0) -> list[Envelope]:
    log = bus_of(running).log
    log.subscribe(topic, "somebody", 4)
    sent = [
        Envelope(
            id=f"note-{number}",
            address=topic,
            body=b'{"number": %d}' % number,
            key=f"k{number % 5}",
            headers={"tenant": "blue"},
            correlation_id=f"web:{number}",
        )
        for number in range(first, first + count)
    ]
    await running.bus.publish(*sent)
    return sent


def again(running: Running, topic: str = "notes.again") -> list[Envelope]:
    return [envelope for envelope in bus_of(running).published if envelope.address == topic]


def by_key(envelopes: Sequence[Envelope]) -> dict[str | None, list[bytes]]:
    found: dict[str | None, list[bytes]] = defaultdict(list)
    for envelope in envelopes:
        found[envelope.key].append(envelope.body)
    return dict(found)


def replay(**given: Any) -> RunStreamReplay:
    return msgspec.convert({"topic": "notes", "into": "notes.again", **given}, RunStreamReplay)


async def run(running: Running, **given: Any) -> StreamReplayReport:
    report: StreamReplayReport = await running.job("run.stream_replay", replay(**given))
    return report


async def test_messages_stay_as_they_are_under_ids_of_their_own(running: Running) -> None:
    sent = await came(running, 40)
    report = await run(running)
    there = again(running)
    assert (report.messages, len(there), report.bytes) == (40, 40, sum(len(one.body) for one in sent))
    assert by_key(there) == by_key(sent)
    sources = {envelope.id: envelope for envelope in sent}
    for one in there:
        source = sources.pop(one.headers["source-id"])
        assert one.headers == {"tenant": "blue", "source-id": source.id}
        assert (one.body, one.correlation_id) == (source.body, source.correlation_id)
        assert one.id != source.id
    assert sources == {}
    await run(running)
    repeated = again(running)[40:]
    assert {one.id for one in repeated} == {one.id for one in there}, "who deduplicates takes it for one"
    await run(running, into="notes.elsewhere")
    assert not {one.id for one in there} & {one.id for one in again(running, "notes.elsewhere")}


async def test_messages_with_one_id_are_as_many_as_they_were(running: Running) -> None:
    [one] = await came(running, 1)
    await running.bus.publish(one, one)
    report = await run(running)
    assert report.messages == 3
    assert len(again(running)) == 3
    assert len({envelope.id for envelope in again(running)}) == 1


async def test_only_what_came_between_the_times(running: Running) -> None:
    sent = await came(running, 30)
    noon = running.clock.now()
    await came(running, 20, first=30)
    early = await run(running, to=noon)
    late = await run(running, **{"from": noon, "into": "notes.late"})
    assert (early.messages, late.messages) == (30, 20)
    assert {one.body for one in again(running)} == {one.body for one in sent}
    assert early.first_at is not None
    assert early.last_at is not None
    assert early.first_at <= early.last_at < noon


async def test_some_partitions_and_a_dry_run(running: Running) -> None:
    await came(running, 40)
    whole = await run(running, dry_run=True)
    assert (whole.messages, whole.dry_run, again(running)) == (40, True, [])
    [some, *_] = whole.by_partition
    part = await run(running, partition=[int(some)])
    assert part.by_partition == {some: whole.by_partition[some]}
    assert len(again(running)) == part.messages < 40


async def test_a_rate_is_kept_to(running: Running) -> None:
    await came(running, 60)
    began_s = running.clock.monotonic()
    await run(running, rate=50.0)
    assert running.clock.monotonic() - began_s >= 60 / 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"into": "notes"}, "into: notes is the topic that is read"),
        ({"topic": "nobody"}, "nothing was ever published to 'nobody'"),
        ({"partition": [4]}, "partition: notes has no partition 4; it has 0 to 3"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "is not before to"),
    ],
)
async def test_what_can_not_be_replayed_is_refused(running: Running, given: dict[str, Any], said: str) -> None:
    await came(running, 10)
    with pytest.raises(JobFailed) as failed:
        await run(running, **given)
    assert said in str(failed.value)
    assert failed.value.row.attempt == 1
    assert again(running) == []


async def test_what_may_have_expired_is_told(running: Running) -> None:
    began_at = running.clock.now()
    await came(running, 10)
    for line in bus_of(running).log.find("notes").lines()[1]:  # type: ignore[union-attr]
        line.drop_below(line.end)
        line.past.pieces.clear()
        line.past.forgotten_at = running.clock.now()
    await came(running, 5, first=10)
    with pytest.raises(JobFailed, match=r"messages were deleted that may have come at .*; all is there from 20"):
        await run(running, **{"from": began_at})
    assert (await run(running, **{"from": began_at, "expired": "earliest"})).messages == 5


async def test_who_goes_on_begins_where_the_other_was_stopped(db: PostgresDb) -> None:
    """As at a drain: it ends at a checkpoint, and the next worker sends the rest, and nothing of it twice."""
    log = MemoryLog(SystemClock())
    bus = HarnessBus(SystemClock(), log)
    async with harness(stream_replay.module, db=db, bus=bus, drain_timeout_s=0.5) as first:
        sent = await came(first, 200)
        job = await first.start("run.stream_replay", replay(rate=50))
        await first.job_is(job, lambda row: row.checkpoint is not None)
        await first.stop()
        begun = again(first)
    assert 0 < len(begun) < 200
    async with harness(stream_replay.module, db=db, bus=HarnessBus(SystemClock(), log)) as second:
        row = await second.ended(job)
        await second.settled()
        assert row.state is JobState.DONE
        there = [*begun, *again(second)]
    assert msgspec.convert(row.result, StreamReplayReport).messages == 200
    assert len({one.id for one in there}) == len(there) == 200
    assert by_key(there) == by_key(sent)


async def test_so_many_wait_for_the_bus_and_no_more(db: PostgresDb, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules.stream_replay import run as running_replay

    monkeypatch.setattr(running_replay, "ROWS", 10)
    monkeypatch.setattr(running_replay, "AHEAD", 25)

    class Slow(HarnessBus):
        """Says how many waited each time that it was sent some."""

        waited: list[int] = []  # noqa: RUF012

        async def publish(self, *envelopes: Envelope) -> None:
            if envelopes[0].address == "notes.again":
                self.waited.append(await db.fetch_value("select count(*) from millrace.outbox"))
                await SystemClock().sleep(0.02)
            await super().publish(*envelopes)

    slow = Slow(SystemClock())
    async with harness(stream_replay.module, db=db, bus=slow) as running:
        await came(running, 150)
        report = await run(running)
        assert len(again(running)) == report.messages == 150
        assert running.clock.now() - timedelta(hours=1) < (report.last_at or running.clock.now())
    assert 0 < max(slow.waited) <= 35
