"""Streams as their users run them: `millrace run MODULE` on a real Kafka and a real PostgreSQL, fed by strangers."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from adapters.database.postgres import PostgresDb
from tests.e2e.product import BIN, Process, environment, millrace, started
from tests.kit import services
from tests.kit.topics import fresh_topic
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(120)]

EVENT = """
name: reading
topic: {topic}
key: sensor
partitions: 2
time: {{column: at}}
columns:
  - {{name: sensor, nullable: false}}
  - {{name: at, type: timestamp, nullable: false}}
  - {{name: value, type: decimal, scale: 2, nullable: false}}
land:
  table: readings
  lake: {{path: lake, format: parquet, wait_s: 1}}
"""
AGGREGATION = """
name: by_ten_seconds
event: reading
key: [sensor]
window: {kind: tumbling, size_s: 10}
measures:
  - {name: readings, kind: count}
  - {name: total, kind: sum, of: value}
disorder_s: 0
idle_s: 1
to: {table: by_ten_seconds, address: readings.by_ten_seconds}
"""


def reading(number: int) -> dict[str, Any]:
    at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    return {"sensor": f"s{number % 3}", "at": at, "value": "1.25"}


async def publish(kafka: services.Running, topic: str, bodies: list[bytes], *, key: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.url) as producer:
        for body in bodies:
            sensor = json.loads(body)["sensor"] if body.startswith(b"{") else key
            await producer.send_and_wait(topic, body, key=sensor.encode())


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    for kind in ("events", "aggregations"):
        (tmp_path / "catalog" / kind).mkdir(parents=True)
    return tmp_path / "catalog"


@pytest.fixture
def environ(database_url: str, tmp_path: Path, kafka: services.Running) -> dict[str, str]:
    more = {
        "MILLRACE_MQ": "kafka",
        "MQ_KAFKA_BOOTSTRAP_SERVERS": kafka.url,
        "CATALOG_DIR": str(tmp_path / "catalog"),
        "FS_LOCAL_ROOT": str(tmp_path / "files"),
        "MILLRACE_LOG": "json",
    }
    return environment(tmp_path, database_url, **more)


async def ended_well(running: Process) -> None:
    running.signal()
    assert await running.ended() == 0
    assert running.drain_report()["clean"]


async def test_events_of_strangers_land_in_table_and_lake(
    environ: dict[str, str], catalog: Path, tmp_path: Path, kafka: services.Running, db: PostgresDb
) -> None:
    async with fresh_topic(kafka, partitions=2) as topic:
        (catalog / "events" / "reading.yaml").write_text(EVENT.format(topic=topic))
        bodies = [json.dumps(reading(number)).encode() for number in range(100)]
        await publish(kafka, topic, [*bodies[:50], b"no JSON", *bodies[50:]], key="s0")
        told = ("--topic", topic, "--batch-size", "50", "--output-format", "json")
        with started(tmp_path, environ, str(BIN / "millrace"), "run", "stream_ingest", *told) as running:
            await running.logged("started")

            async def landed() -> bool:
                rows = await db.fetch_value("select coalesce(sum(rows), 0) from millrace.lake_files")
                return int(rows) == 100 and await db.fetch_value("select count(*) from readings") == 100

            await until(landed, timeout_s=60, what="100 readings in table and lake")
            await ended_well(running)
    files = list((tmp_path / "files" / "lake" / "date=2026-01-01").glob("*.jsonl*"))
    assert sum(len(file.read_text().splitlines()) for file in files) == 100
    listed = millrace(environ, "lake", "list", "--output", "json")
    assert {row["format"] for row in json.loads(listed.stdout)} == {"json"}
    refused = millrace(environ, "quarantine", "list", "--dataset", "reading", "--output", "json")
    assert [row["raw"] for row in json.loads(refused.stdout)] == ["no JSON"]


async def test_windows_are_kept_by_workers_that_come_and_go(
    environ: dict[str, str], catalog: Path, tmp_path: Path, kafka: services.Running, db: PostgresDb
) -> None:
    async with fresh_topic(kafka, partitions=2) as topic:
        (catalog / "events" / "reading.yaml").write_text(EVENT.format(topic=topic))
        (catalog / "aggregations" / "by_ten_seconds.yaml").write_text(AGGREGATION)
        command = (str(BIN / "millrace"), "run", "metric_aggregator", "--aggregation", "by_ten_seconds")
        for numbers in (range(95), range(95, 200)):  # one window is begun by one worker and ended by the other
            bodies = [json.dumps(reading(number)).encode() for number in numbers]
            with started(tmp_path, environ, *command) as running:
                await running.logged("started")
                await publish(kafka, topic, bodies, key="s0")
                await until(partial(_seen, db, topic, numbers[-1] + 1), timeout_s=60, what="all readings")
                await ended_well(running)
        with started(tmp_path, environ, *command) as running:  # which sees nothing but that time goes on

            async def closed() -> bool:
                return (
                    int(await db.fetch_value("select coalesce(sum(readings), 0) from by_ten_seconds where closed"))
                    == 200
                )

            await until(closed, timeout_s=90, what="the end of every window")
            await ended_well(running)
    rows = await db.fetch(
        "select window_start, sum(readings) as readings, sum(total) as total from by_ten_seconds group by 1 order by 1"
    )
    assert [row["readings"] for row in rows] == [10] * 20
    assert [str(row["total"]) for row in rows] == ["12.50"] * 20


async def _seen(db: PostgresDb, topic: str, messages: int) -> bool:
    """All of them are finished, and what they did to windows is saved."""
    ends = await db.fetch(
        "select coalesce(p.position, 0) + coalesce((select sum(f.past - f.first) from millrace.finished f"
        " where f.partition_id = p.id and f.first >= coalesce(p.position, 0)), 0) as seen"
        " from millrace.partitions p where p.address = $1",
        topic,
    )
    return sum(int(row["seen"]) for row in ends) >= messages


def test_what_can_not_be_served_is_told_at_once(environ: dict[str, str], catalog: Path) -> None:
    (catalog / "events" / "reading.yaml").write_text(EVENT.format(topic="readings").replace("type: decimal", "type: x"))
    for arguments, why in ([], "events/reading.yaml"), (["--batch-size", "0"], "--batch-size"):
        said = millrace(environ, "run", "stream_ingest", *arguments)
        assert said.returncode == 2, said.stderr
        assert why in said.stderr
        assert "Traceback" not in said.stderr
