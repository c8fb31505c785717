"""A replay on a real Kafka and on real Redis Streams, by the command line; the process is killed in the middle, and a
worker goes on with it. What is counted of it equals what was counted as it came."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.aggregation import Results, Tumbling
from contracts.job import JobState
from contracts.message import Envelope
from contracts.ports import Bus
from contracts.stream_replay import StreamReplayReport
from modules import metric_aggregator, stream_replay
from tests.kit import services
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness
from tests.kit.waiting import until
from tests.modules.windows_kit import READING, aggregation, reading

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180), pytest.mark.usefixtures("unwatched")]

EVENTS, SENSORS, PARTITIONS = 500, 9, 4
COLUMNS = (
    "sensor, window_start, window_end, readings, value_sum, value_avg, value_min, level_max, last_at, events, closed"
)


def bus_on(mq: str, url: str, ledger_id: Callable[[], object]) -> Bus:
    if mq == "kafka":
        from adapters.bus.kafka.bus import KafkaBus

        return KafkaBus(url, clock=SystemClock(), ledger_id=ledger_id, session_timeout_s=2.0)  # type: ignore[arg-type]
    from adapters.bus.redis_stream.bus import RedisStreamBus

    return RedisStreamBus(url, clock=SystemClock(), ledger_id=ledger_id, lease_s=2.0)  # type: ignore[arg-type]


@contextmanager
def command_line(directory: Path, environ: dict[str, str], *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`millrace` as a process, which is dead at the end."""
    root = str(Path(__file__).parents[2])
    given = {**os.environ, "PYTHONPATH": root, "MILLRACE_HOME": str(directory / "home"), **environ}
    with (directory / "run.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", *words], cwd=directory, env=given, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
async def test_a_replay_that_is_killed_counts_what_came_live(
    mq: str, db: PostgresDb, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: services.Running = request.getfixturevalue("kafka" if mq == "kafka" else "redis_server")
    clock = SystemClock()
    topic = f"t{clock.new_id()[-8:]}.readings"
    came = msgspec.structs.replace(READING, topic=topic, partitions=PARTITIONS)
    # What a killed process had sent, and had not written down yet, comes twice, under the same ids.
    again = msgspec.structs.replace(came, name="again", topic=f"{topic}.again", dedupe_s=600.0)
    live = aggregation(Tumbling(size_s=60), to=Results(table="live", changes=True))
    anew = msgspec.structs.replace(live, name="anew", event="again", to=Results(table="anew", changes=True))

    async def ledger_id() -> str:
        return str(await db.fetch_value("select id from millrace.ledger"))

    async def counted(table: str) -> int:
        return int(await db.fetch_value(f"select coalesce(sum(events), 0) from {table}"))  # noqa: S608 - one of ours

    began_at = clock.now()
    catalog = DeclaredCatalog(came, live)
    async with harness(
        metric_aggregator.module, db=db, bus=bus_on(mq, server.url, ledger_id), catalog=catalog
    ) as first:
        events = [reading(number * 1.7, f"s{number % SENSORS}", value=f"{number}.25") for number in range(EVENTS)]
        await first.bus.publish(
            *(
                Envelope(id=f"e{number}", address=topic, body=msgspec.json.encode(event), key=event.sensor)
                for number, event in enumerate(events)
            )
        )

        async def all_counted() -> bool:
            return await counted("live") == EVENTS

        await until(all_counted, timeout_s=60, what="windows over what came")

    server_is = "MQ_KAFKA_BOOTSTRAP_SERVERS" if mq == "kafka" else "MQ_REDIS_STREAM_URL"
    environ = {"DB_POSTGRES_URL": database_url, "MILLRACE_MQ": mq, server_is: server.url, "WORKER_LEASE_S": "2"}
    told = ["--topic", topic, "--into", again.topic, "--from", (began_at - timedelta(seconds=1)).isoformat()]
    with command_line(tmp_path, environ, "run", "stream_replay", *told, "--rate", "200") as process:

        async def halfway() -> bool:
            assert process.poll() is None, (tmp_path / "run.log").read_text()
            return bool(await db.fetch_value("select count(*) from millrace.jobs where checkpoint is not null"))

        await until(halfway, timeout_s=60, what="a checkpoint of the replay")
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL

    catalog = DeclaredCatalog(again, anew)
    modules = (metric_aggregator.module, stream_replay.module)
    bus = bus_on(mq, server.url, ledger_id)
    async with harness(*modules, db=db, bus=bus, catalog=catalog, worker_lease_s=2) as second:
        job_id = await db.fetch_value("select id from millrace.jobs")
        row = await second.ended(job_id)
        assert row.state is JobState.DONE, row.error
        assert row.claims == 2
        report = msgspec.convert(row.result, StreamReplayReport)
        assert report.messages == sum(report.by_partition.values()) == EVENTS

        async def all_again() -> bool:
            return await counted("anew") >= EVENTS

        await until(all_again, timeout_s=60, what="windows over the replay")
        assert await second.dead_letters() == []
    rows = {name: await db.fetch(f"select {COLUMNS} from {name} order by 1, 2") for name in ("live", "anew")}  # noqa: S608
    assert rows["anew"] == rows["live"]
    assert len(rows["live"]) > 100
    with command_line(tmp_path, environ, "run", "stream_replay", *told, "--dry-run", "--output", "json") as process:
        assert process.wait(timeout=60) == 0, (tmp_path / "run.log").read_text()
    assert f'"messages": {EVENTS}' in (tmp_path / "run.log").read_text()
