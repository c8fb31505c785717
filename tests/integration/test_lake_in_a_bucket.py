"""The modules that use files, on a bucket of a real S3 server: the same code, by settings alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.s3.bucket import Bucket
from adapters.files.s3.files import S3Files
from contracts.stream_ingest import CleanLake
from modules.stream_ingest import module
from modules.stream_ingest.module import clean_lake
from tests.conformance.files_suite import names
from tests.e2e.product import ROOT, environment, millrace
from tests.kit import services
from tests.kit.buckets import fresh_bucket
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness
from tests.modules.stream_ingest_kit import declared, order

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]

NUMBERS = range(1, 301)
DATASET = """
name: placed
table: placed
source: lake/date={date}/*.parquet
format: {type: parquet}
key: [order_id]
columns:
  - {name: order_id, type: int, nullable: false}
  - {name: customer}
  - {name: placed_at, type: timestamp, nullable: false}
  - {name: amount, type: decimal, precision: 12, scale: 2}
"""


@pytest.fixture
async def bucket(minio: services.Running) -> AsyncIterator[Bucket]:
    async with fresh_bucket(minio) as made:
        yield made


def by_minio(minio: services.Running, bucket: Bucket) -> dict[str, str]:
    """The settings of `--fs minio`."""
    parts = urlsplit(minio.url)
    return {
        "FS_S3_BUCKET": bucket.name,
        "FS_S3_PREFIX": "team",
        "FS_MINIO_ENDPOINT": bucket.endpoint or "",
        "FS_MINIO_ACCESS_KEY": parts.username or "",
        "FS_MINIO_SECRET_KEY": parts.password or "",
    }


def by_s3(minio: services.Running, bucket: Bucket) -> dict[str, str]:
    """The settings of `--fs s3`, with the keys where the usual chain looks for them."""
    parts = urlsplit(minio.url)
    return {
        "FS_S3_BUCKET": bucket.name,
        "FS_S3_PREFIX": "team",
        "FS_S3_ENDPOINT": bucket.endpoint or "",
        "FS_S3_PATH_STYLE": "true",
        "AWS_ACCESS_KEY_ID": parts.username or "",
        "AWS_SECRET_ACCESS_KEY": parts.password or "",
    }


async def test_events_become_a_lake_that_is_loaded_into_a_table(
    minio: services.Running, bucket: Bucket, database_url: str, db: PostgresDb, tmp_path: Path
) -> None:
    now = SystemClock().now()
    event = declared({"lake": {"path": "lake", "wait_s": 0.3}, "wait_s": 0.1})
    files = S3Files(msgspec.structs.replace(bucket, prefix="team"), clock=SystemClock())
    await files.open()
    try:
        async with harness(module, db=db, files=files, catalog=DeclaredCatalog(event)) as ingest:
            for number in NUMBERS:
                await ingest.publish("orders.placed", order(number, at=now), key=f"k{number % 20}")

            async def listed() -> bool:
                return bool(await db.fetch_value("select sum(rows) = $1 from millrace.lake_files", len(NUMBERS)))

            await ingest.until(listed, what="the files")
            assert await ingest.dead_letters() == []
        await files.open()  # the worker has closed them
        in_bucket = await names(files)
        assert in_bucket == [
            row["path"] for row in await db.fetch("select path from millrace.lake_files order by path")
        ]
        (cleaned,) = await clean_lake(CleanLake(), DeclaredCatalog(event), db, files, SystemClock())
        assert cleaned.files == (), "they are listed, and young"
    finally:
        await files.close()

    (tmp_path / "catalog" / "datasets").mkdir(parents=True)
    (tmp_path / "catalog" / "datasets" / "placed.yaml").write_text(DATASET)
    environ = environment(tmp_path, database_url, CATALOG_DIR=str(tmp_path / "catalog"), **by_minio(minio, bucket))
    command = ("run", "batch_etl", "placed", "--date", now.date().isoformat(), "--fs", "minio", "--output", "json")
    ran = millrace(environ, *command)
    assert ran.returncode == 0, ran.stderr
    assert msgspec.json.decode(ran.stdout)["result"]["loaded"] == len(NUMBERS)
    assert await db.fetch_value("select count(distinct order_id) from placed") == len(NUMBERS)


async def test_the_example_is_loaded_from_a_bucket(
    minio: services.Running, bucket: Bucket, database_url: str, db: PostgresDb, tmp_path: Path
) -> None:
    files = S3Files(msgspec.structs.replace(bucket, prefix="team"), clock=SystemClock())
    await files.open()
    await files.write("trips/2019-01-15.csv", (ROOT / "examples" / "trips" / "2019-01-15.csv").read_bytes())
    await files.close()
    environ = environment(tmp_path, database_url, CATALOG_DIR=str(ROOT / "catalog"), **by_s3(minio, bucket))
    command = ("run", "batch_etl", "trips", "--date", "2019-01-15", "--fs", "s3", "--output", "json")
    ran = millrace(environ, *command)
    assert ran.returncode == 0, ran.stderr
    report = msgspec.json.decode(ran.stdout)["result"]
    assert await db.fetch_value(f"select count(*) from {report['table']}") == report["loaded"] > 0  # noqa: S608
    environ["AWS_SECRET_ACCESS_KEY"] = "hunter2hunter2"
    ran = millrace(environ, *command)
    assert ran.returncode != 0
    assert "SignatureDoesNotMatch" in ran.stderr
    assert "hunter2" not in ran.stderr
    assert "Traceback" not in ran.stderr
