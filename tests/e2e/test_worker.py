"""The worker as it is deployed: `faststream run runtime.app:app` on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from tests.e2e.product import BIN, environment, started, worker
from tests.kit import own_modules
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(90)]


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    own_modules.write(tmp_path)
    return environment(tmp_path, database_url)


async def test_a_command_becomes_a_job_that_is_done(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async with worker(tmp_path, environ) as running:
        said = await running.post("run.steps", {"steps": 5, "name": "e2e"}, message_id="one")
        assert said["job_id"] == "one"
        row = await running.job_is("one", "done")
        assert row["result"]["steps"] == 5
        assert (await running.client.get("/health/ready")).status_code == 200
        running.signal()
        assert await running.ended() == 0
    report = running.drain_report()
    assert (report["clean"], report["reason"], report["fates"]) == (True, "SIGTERM", {})
    assert await db.fetch_value("select count(*) from steps where job = 'one'") == 5


async def test_the_start_up_line_says_what_it_is(environ: dict[str, str], tmp_path: Path) -> None:
    async with worker(tmp_path, environ) as running:
        summary = running.summary
        assert summary["modules"] == "orders 1.0.0, steps 1.0.0"
        for said in ("run.steps (job, recorded-once)", "orders.raw (stream, transactional)"):
            assert said in summary["routes"]
        assert "ledger=PostgresLedger" in summary["adapters"]
        assert summary["http"].startswith("http://127.0.0.1:")
        assert summary["took_ms"] > 0
        assert "memory bus" in summary["note"]
        assert environ["DB_POSTGRES_URL"].split(":")[2].split("@")[0] not in running.err, "no password"


async def test_only_the_named_modules_run(environ: dict[str, str], tmp_path: Path) -> None:
    async with worker(tmp_path, {**environ, "MODULES": "orders"}) as running:
        assert running.summary["modules"] == "orders 1.0.0"
        answer = await running.client.post("/commands/run.steps", json={"steps": 1})
        assert answer.status_code == 404


async def test_a_job_that_runs_may_finish(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async with worker(tmp_path, environ) as running:
        await running.post("run.steps", {"steps": 20, "step_s": 0.05}, message_id="one")
        await running.logged("stepping")
        running.signal()
        assert await running.ended() == 0
    assert running.drain_report()["fates"] == {"one": "finished"}
    assert await db.fetch_value("select state from millrace.jobs") == "done"


async def test_a_job_that_is_cut_goes_on_exactly_where_it_was(
    environ: dict[str, str], tmp_path: Path, db: PostgresDb
) -> None:
    async with worker(tmp_path, {**environ, "DRAIN_TIMEOUT_S": "1"}) as first:
        await first.post("run.steps", {"steps": 60, "step_s": 0.05}, message_id="one")
        await first.logged("stepping")
        await until(lambda: _steps(db, at_least=3), timeout_s=20, what="some steps")
        first.signal()
        assert await first.ended() == 3
    report = first.drain_report()
    assert (report["clean"], report["fates"]) == (False, {"one": "checkpointed"})
    done = await db.fetch_value("select count(*) from steps")
    assert 0 < done < 60
    async with worker(tmp_path, environ) as second:
        row = await second.job_is("one", "done")
    assert (row["attempt"], row["claims"]) == (1, 2)
    rows = await db.fetch("select step from steps order by step")
    assert [row["step"] for row in rows] == list(range(60)), "each step once"


async def test_a_second_signal_cuts_at_once_and_still_reports(
    environ: dict[str, str], tmp_path: Path, db: PostgresDb
) -> None:
    async with worker(tmp_path, {**environ, "DRAIN_TIMEOUT_S": "600"}) as running:
        await running.post("run.steps", {"steps": 10_000, "step_s": 0.05}, message_id="one")
        await until(lambda: _steps(db, at_least=3), timeout_s=20, what="some steps")
        running.signal(signal.SIGINT)
        await running.logged("draining")
        running.signal(signal.SIGTERM)
        assert await running.ended() == 3
    report = running.drain_report()
    assert report["fates"] == {"one": "checkpointed"}
    assert report["seconds"] < 20
    assert await db.fetch_value("select state from millrace.jobs") == "queued"


async def test_two_workers_share_the_work(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async with (
        worker(tmp_path, {**environ, "JOB_SLOTS": "2"}) as one,
        worker(tmp_path, {**environ, "JOB_SLOTS": "2"}) as two,
    ):
        ids = [f"job-{number}" for number in range(12)]
        for job_id in ids:
            # Three seconds of work for both together: long enough that the other one has heard of it.
            await one.post("run.steps", {"steps": 4, "step_s": 0.25}, message_id=job_id)
        for job_id in ids:
            await two.job_is(job_id, "done")
        shares = [process.messages().count("stepping") for process in (one, two)]
    assert sum(shares) == 12
    assert min(shares) >= 3, shares
    assert await db.fetch_value("select count(*) from steps") == 48


async def test_a_killed_workers_job_is_taken_over(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async with worker(tmp_path, environ) as first:
        await first.post("run.steps", {"steps": 40, "step_s": 0.05}, message_id="one")
        await until(lambda: _steps(db, at_least=5), timeout_s=20, what="some steps")
        first.signal(signal.SIGKILL)
        assert await first.ended() == -signal.SIGKILL
        async with worker(tmp_path, environ) as second:
            await second.job_is("one", "done")
    rows = await db.fetch("select step from steps order by step")
    assert [row["step"] for row in rows] == list(range(40))


async def _steps(db: PostgresDb, *, at_least: int) -> bool:
    return bool(await db.fetch_value("select count(*) >= $1 from steps", at_least))


async def test_messages_of_a_stream_are_kept_in_order(environ: dict[str, str], tmp_path: Path, db: PostgresDb) -> None:
    async with worker(tmp_path, environ) as running:
        for amount in range(10):
            await running.post("orders.raw", {"customer": "c", "amount": amount})
        answer = await running.client.post("/commands/orders.raw", json={"customer": 7})
        assert answer.status_code == 422

        async def all_there() -> bool:
            return bool(await db.fetch_value("select count(*) = 10 from orders"))

        await until(all_there, timeout_s=20, what="ten orders")
        running.signal()
        assert await running.ended() == 0
    rows = await db.fetch("select amount from orders order by ctid")
    assert [row["amount"] for row in rows] == list(range(10))


# What keeps it from starting.


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"HTTP_PORT": "a lot", "DRAIN_TIMEOUT_S": "-1", "MILLRACE_DB": "oracle"},
            ["HTTP_PORT (environment) is 'a lot'", "DRAIN_TIMEOUT_S (environment) is '-1'", "MILLRACE_DB", "oracle"],
        ),
        ({"MODULES": "stpes,orders,nothing"}, ["there is no module 'stpes'", "did you mean steps?", "'nothing'"]),
        (
            {"MILLRACE_DB": "cassandra", "DB_CASSANDRA_HOSTS": "x:9042", "DB_CASSANDRA_KEYSPACE": "shop"},
            [
                "steps asks for Db (run.steps, hook 1), and Cassandra has no transactions",
                "orders asks for Db (orders.raw of orders, hook 1), and",
            ],
        ),
    ],
)
async def test_wrong_settings_are_told_all_at_once(
    environ: dict[str, str], tmp_path: Path, more: dict[str, str], said: list[str]
) -> None:
    with started(tmp_path, {**environ, **more}, str(BIN / "faststream"), "run", "runtime.app:app") as process:
        assert await process.ended() == 2
    for expected in said:
        assert expected in process.err
    assert "Traceback" not in process.err + process.out


async def test_a_taken_port_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = (str(BIN / "faststream"), "run", "runtime.app:app")
        with started(tmp_path, {**environ, "HTTP_PORT": port}, *command) as process:
            assert await process.ended() == 2
    assert f"port {port} on 127.0.0.1 is taken by another process" in process.err
    assert "Traceback" not in process.err


async def test_a_database_that_is_not_there_is_one_line_of_the_log(environ: dict[str, str], tmp_path: Path) -> None:
    there_is_not = environ["DB_POSTGRES_URL"].replace("/millrace_test", "/there_is_no_millrace_test")
    command = (str(BIN / "faststream"), "run", "runtime.app:app")
    with started(tmp_path, {**environ, "DB_POSTGRES_URL": there_is_not}, *command) as process:
        assert await process.ended() == 1
    [line] = [line for line in process.lines() if line["level"] == "ERROR"]
    assert line["message"] == "the worker did not start"
    assert "does not exist" in line["context"]["error"]
    assert "Traceback" not in process.err


# Documents.


def test_asyncapi_has_every_route_with_its_payload(environ: dict[str, str], tmp_path: Path) -> None:
    made = tmp_path / "asyncapi.json"
    command = [str(BIN / "faststream"), "docs", "gen", "runtime.app:app", "--out", str(made)]
    subprocess.run(command, env=environ, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    document = msgspec.json.decode(made.read_bytes())
    assert document["info"]["title"] == "Millrace"
    assert {channel["address"] for channel in document["channels"].values()} == {"run.steps", "run.alone", "orders.raw"}
    schemas = document["components"]["schemas"]
    properties = [set(schema.get("properties", ())) for schema in schemas.values()]
    assert {"customer", "amount"} in properties
    assert {"steps", "name", "day", "step_s", "mode", "tags", "dry_run"} in properties


async def test_two_workers_started_at_once_on_an_empty_database(empty_database_url: str, tmp_path: Path) -> None:
    own_modules.write(tmp_path)
    environ = environment(tmp_path, empty_database_url)
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(_starts(tmp_path, environ)) for _ in range(2)]
    assert [one.result() for one in both] == [0, 0]


async def _starts(directory: Path, environ: dict[str, str]) -> int:
    async with worker(directory, environ) as running:
        running.signal()
        return await running.ended()
