"""kill -9 and stalls at every step of a batch's way into table and lake: each event lands exactly once in both."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pyarrow.parquet as pq
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.message import Envelope
from runtime.wiring import Adapters
from tests.kit import services
from tests.kit.doomed_ingest import POINTS
from tests.kit.stream_worker import chosen
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(180), pytest.mark.usefixtures("unwatched")]

ROWS, REFUSED = 400, 4


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
@pytest.mark.parametrize("point", POINTS)
async def test_each_event_lands_once_though_workers_die(
    mq: str, point: str, db: PostgresDb, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: services.Running = request.getfixturevalue("kafka" if mq == "kafka" else "redis_server")
    topic = f"t{SystemClock().new_id()[-8:]}.things"
    command = worker(database_url, tmp_path, mq, server.url, topic)
    dying = [*command, "--die-at", point]
    with anyio.fail_after(150):
        # The first worker makes the topic; what is published is there for it or for the next.
        async with await anyio.open_process(dying) as first:
            assert first.stdout is not None
            await first.stdout.receive()
            await publish(database_url, tmp_path, mq, server.url, topic)
            ends = [await first.wait()]
        # What the bus is told comes every second, whatever there is to tell.
        nth = "1" if point == "committed" else "4"
        ends.append((await anyio.run_process([*dying, "--nth", nth], check=False)).returncode)
        last = await anyio.run_process(command, check=False)
    assert ends == [-signal.SIGKILL] * 2
    assert last.returncode == 0, last.stderr.decode()
    await everything_landed_once(db, tmp_path)


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
@pytest.mark.parametrize("point", ["written", "landed", "announced"])
async def test_a_worker_that_stalls_and_wakes_up_lands_nothing_more(
    mq: str, point: str, db: PostgresDb, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Taken for dead, it wakes up between its file, or its last statement, and its commit; what it had locked until
    then held up nobody."""
    server: services.Running = request.getfixturevalue("kafka" if mq == "kafka" else "redis_server")
    topic = f"t{SystemClock().new_id()[-8:]}.things"
    command = worker(database_url, tmp_path, mq, server.url, topic)
    with anyio.fail_after(150):
        async with await anyio.open_process([*command, "--die-at", point, "--signal", "SIGSTOP"]) as stalled:
            try:
                assert stalled.stdout is not None
                await stalled.stdout.receive()
                await publish(database_url, tmp_path, mq, server.url, topic)
                await until(lambda: is_stopped(stalled.pid), timeout_s=60, what="the stall")
                other = await anyio.run_process(command, check=False)
                assert other.returncode == 0, other.stderr.decode()
                await everything_landed_once(db, tmp_path)
                stalled.send_signal(signal.SIGCONT)
                await stalled.wait()
            finally:
                if stalled.returncode is None:
                    stalled.kill()
    await everything_landed_once(db, tmp_path)


def is_stopped(pid: int) -> bool:
    """Whether the process stands still."""
    listed = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip().startswith("T")


def worker(url: str, directory: Path, mq: str, server: str, topic: str) -> list[str]:
    command = [sys.executable, "-m", "tests.kit.doomed_ingest", "--url", url, "--mq", mq, "--server", server]
    return [*command, "--directory", str(directory), "--topic", topic, "--rows", str(ROWS), "--refused", str(REFUSED)]


async def everything_landed_once(db: PostgresDb, directory: Path) -> None:
    assert await db.fetch_value("select array_agg(id order by id) from things") == list(range(ROWS))
    assert await in_files(db, directory) == list(range(ROWS))
    refused = await db.fetch("select raw from millrace.quarantine order by raw")
    assert [row["raw"] for row in refused] == [f"no thing {number}" for number in range(REFUSED)]
    assert await db.fetch_value("select count(*) from millrace.dead_letters") == 0


async def publish(url: str, directory: Path, mq: str, server: str, topic: str) -> None:
    clock = SystemClock()
    things = [msgspec.json.encode({"id": number, "at": clock.now()}) for number in range(ROWS)]
    for number in range(REFUSED):
        things.insert(number * 90, f"no thing {number}".encode())
    adapters = Adapters(chosen(url, directory, mq=mq, server=server))
    for name in ("db", "ledger", "bus"):
        await adapters.open(name)
    try:
        await adapters.bus.publish(
            *(
                Envelope(id=clock.new_id(), address=topic, body=body, key=f"k{number % 10}", published_at=clock.now())
                for number, body in enumerate(things)
            )
        )
    finally:
        await adapters.close()


async def in_files(db: PostgresDb, directory: Path) -> list[int]:
    """Of the files that the manifest lists, whatever else lies beside them."""
    files = LocalFiles(directory / "files")
    found: list[Any] = []
    for row in await db.fetch("select path, rows, bytes from millrace.lake_files"):
        data = await files.read(row["path"])
        ids = pq.read_table(io.BytesIO(data)).column("id").to_pylist()
        assert (len(ids), len(data)) == (row["rows"], row["bytes"])
        found += ids
    return sorted(found)
