from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from adapters.database.postgres import PostgresDb
from contracts.errors import Faults
from runtime.http import body, commands, protocol
from tests.integration.http_site import Hold, Site, as_json, made, running
from tests.kit.databases import LIMITS, Databases, opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TOKEN = {"Authorization": "Bearer s3cret-of-the-test"}


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


@pytest.fixture(scope="module")
async def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all that leave it as it was."""
    async with databases.fresh() as url, running(url, tmp_path_factory.mktemp("site")) as site:
        yield site


@asynccontextmanager
async def unreachable(databases: Databases, url: str) -> AsyncIterator[None]:
    """The database refuses everybody until the end of the block."""
    name = url.rpartition("/")[2].partition("?")[0]
    async with opened(PostgresDb(databases.url("postgres"), limits=LIMITS)) as admin:
        await admin.execute(f'alter database "{name}" allow_connections false')
        try:
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
            yield
        finally:
            await admin.execute(f'alter database "{name}" allow_connections true')


# --- health -------------------------------------------------------------------------------------------------------


async def test_a_running_worker_is_alive_started_and_ready(shared: Site) -> None:
    assert as_json(await shared.get("/health/live")) == {"status": "ok"}
    assert as_json(await shared.get("/health/startup")) == {"status": "ok", "phase": "running"}
    ready = await shared.get("/health/ready")
    said = as_json(ready)
    assert (ready.status_code, said["status"], said["phase"]) == (200, "ok", "running")
    assert set(said["checks"]) >= {"db", "ledger", "bus", "secrets"}
    assert all(check["status"] == "ok" and check["ms"] >= 0 for check in said["checks"].values())


async def test_a_starting_worker_is_alive_and_not_ready(database_url: str, tmp_path: Path) -> None:
    hold, hook_runs, hook_ends = Hold(), asyncio.Event(), asyncio.Event()
    worker = made(database_url, tmp_path, hold)

    @worker.modules[0].on_startup
    async def warm() -> None:
        hook_runs.set()
        await hook_ends.wait()

    async with asyncio.TaskGroup() as group:
        starting = group.create_task(worker.start())
        await hook_runs.wait()
        async with httpx.AsyncClient(base_url=worker.http.address, timeout=10, trust_env=False) as client:
            assert (await client.get("/health/live")).status_code == 200
            for path in ("/health/startup", "/health/ready"):
                response = await client.get(path)
                assert (response.status_code, as_json(response)["phase"]) == (503, "starting")
            posted = await client.post("/commands/run.echo", json={"text": "a"})
            assert (posted.status_code, (await client.get("/jobs")).status_code) == (503, 503)
            hook_ends.set()
            await starting
            assert (await client.get("/health/ready")).status_code == 200
    await worker.stop()


async def test_a_database_that_is_down_makes_it_degraded_while_a_route_goes_on_without_it(
    site: Site, databases: Databases, database_url: str
) -> None:
    async with unreachable(databases, database_url):
        ready = await site.get("/health/ready")
        assert (ready.status_code, as_json(ready)["status"]) == (200, "degraded")
        waiting = {route["address"]: route["waits_for"] for route in as_json(ready)["routes"]}
        assert waiting == {"run.echo": ["db", "ledger"], "run.held": ["ledger"]}, "seen.raw needs none"
        checks = as_json(ready)["checks"]
        assert checks["db"]["status"] == "unavailable"
        assert checks["db"]["fault"]
        assert checks["bus"]["status"] == "ok"
        assert (await site.get("/health/live")).status_code == 200
        jobs = await site.get("/jobs")
        assert (jobs.status_code, jobs.headers["retry-after"]) == (503, "5")
        assert "not available" in as_json(jobs)["detail"]


async def test_a_command_that_was_answered_too_late_can_be_posted_again(
    site: Site, databases: Databases, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "pay-7"}
    with monkeypatch.context() as patch:
        patch.setattr(commands, "SUBMIT_TIMEOUT_S", 0.3)
        async with unreachable(databases, database_url):
            late = await site.post("/commands/run.echo", json={"text": "a"}, headers=key)
    assert late.status_code == 503
    assert "Idempotency-Key: pay-7" in as_json(late)["detail"]
    assert late.headers["retry-after"]
    again = await site.post("/commands/run.echo", json={"text": "a"}, headers=key)
    assert again.status_code == 202
    assert [job["id"] for job in as_json(await site.get("/jobs"))["jobs"]] == ["pay-7"]


async def test_metrics_are_in_the_text_format(shared: Site) -> None:
    response = await shared.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "platform_drain_phase 1.0" in response.text


# --- who may ask --------------------------------------------------------------------------------------------------


async def test_with_a_token_only_its_bearer_is_answered(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, HTTP_TOKEN="s3cret-of-the-test") as site:
        for path in ("/", "/jobs", "/docs", "/docs/openapi.json", "/modules", "/nothing"):
            refused = await site.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
            assert (await site.get(path, headers=TOKEN)).status_code in (200, 404)
        assert (await site.post("/commands/run.echo", json={"text": "a"})).status_code == 401
        assert (await site.post("/commands/run.echo", json={"text": "a"}, headers=TOKEN)).status_code == 202
        for path in ("/health/live", "/health/ready", "/health/startup", "/metrics"):
            assert (await site.get(path)).status_code == 200
        described = as_json(await site.get("/docs/openapi.json", headers=TOKEN))
        assert described["security"] == [{"bearer": []}, {"key": []}]


async def test_an_empty_token_is_refused_at_start(database_url: str, tmp_path: Path) -> None:
    worker = made(database_url, tmp_path, Hold(), HTTP_TOKEN=" ")
    with pytest.raises(Faults, match="HTTP_TOKEN"):
        await worker.start()


async def test_strangers_do_not_see_what_is_wrong(databases: Databases, database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, HTTP_TOKEN="s3cret-of-the-test") as site:
        async with unreachable(databases, database_url):
            stranger = as_json(await site.get("/health/ready"))["checks"]["db"]
            bearer = as_json(await site.get("/health/ready", headers=TOKEN))["checks"]["db"]
        assert "fault" not in stranger
        assert bearer["fault"]


async def test_who_comes_through_a_proxy_is_not_taken_for_this_machine(shared: Site) -> None:
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        refused = await shared.get("/jobs", headers={header: "127.0.0.1"})
        assert refused.status_code == 403
        assert "HTTP_TOKEN" in as_json(refused)["detail"]


async def test_another_name_for_this_machine_is_refused(shared: Site) -> None:
    for path in ("/jobs", "/health/ready", "/metrics"):
        refused = await shared.get(path, headers={"Host": "rebound.example"})
        assert refused.status_code == 421
        assert "HTTP_ALLOWED_HOSTS" in as_json(refused)["detail"]


async def test_more_names_can_be_allowed(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, HTTP_ALLOWED_HOSTS="jobs.example,millrace") as site:
        for host, status in (("Jobs.Example:443", 200), ("millrace", 200), ("evil.example", 421)):
            assert (await site.get("/jobs", headers={"Host": host})).status_code == status


async def test_a_web_page_can_not_post_commands(shared: Site) -> None:
    url = "/commands/run.echo"
    body = b'{"text": "a"}'
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-shared"}, 403),
    ):
        assert (await shared.post(url, content=body, headers=headers)).status_code == status
    preflight = await shared.client.options(url, headers={"Origin": "https://evil.example"})
    assert not [name for name in preflight.headers if name.startswith("access-control-")]
    assert as_json(await shared.get("/jobs"))["jobs"] == []


# --- bounds and answers -------------------------------------------------------------------------------------------


async def connected(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(site.client.base_url.host, site.client.base_url.port)


async def test_a_body_has_a_bound_also_when_it_does_not_say_its_size(shared: Site) -> None:
    headers = {"Content-Type": "application/json"}
    declared = await shared.post("/commands/run.echo", content=b" " * (body.BODY_BYTES + 1), headers=headers)
    assert declared.status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(body.BODY_BYTES // 65_536 + 1):
            yield b" " * 65_536

    chunked = await shared.post("/commands/run.echo", content=endless(), headers=headers)
    assert chunked.status_code == 413
    assert as_json(chunked)["detail"]


async def test_a_body_that_does_not_come_is_not_waited_for(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await connected(shared)
    writer.write(
        b"POST /commands/run.echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 20\r\n\r\n{"
    )
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"detail"' in answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "flood",
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"x" * 1000),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-Many: x\r\n" * 100),
        (b"GET /", b"x" * 1000),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Many: x\r\n" * 100),
    ],
    ids=["a header", "headers", "a line", "trailers"],
)
async def test_a_head_has_a_bound(shared: Site, flood: tuple[bytes, bytes]) -> None:
    reader, writer = await connected(shared)
    begin, more = flood
    writer.write(begin)
    with suppress(ConnectionError):  # whoever goes on sending may find it closed
        async with asyncio.timeout(10):
            for _ in range(4 * protocol.HEAD_BYTES // len(more)):
                writer.write(more)
                await writer.drain()
            assert b"HTTP/1.1 400 " in await reader.read()
    writer.close()
    assert (await shared.get("/health/live")).status_code == 200


async def test_a_head_that_does_not_come_is_not_waited_for(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    for begin in (b"", b"GET /health/live HTTP/1.1\r\nHost: loc"):
        reader, writer = await connected(shared)
        writer.write(begin)
        async with asyncio.timeout(10):
            assert await reader.read() == b"", "the connection is closed"
        writer.close()


async def test_what_is_not_there_or_not_offered_is_told_in_json(shared: Site) -> None:
    missing = await shared.get("/nothing/here")
    assert (missing.status_code, as_json(missing)["faults"]) == (404, [])
    wrong = await shared.client.delete("/jobs")
    assert (wrong.status_code, as_json(wrong)["faults"]) == (405, [])


async def test_a_fault_of_the_server_is_logged_and_not_shown(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(shared.worker.adapters.ledger.desk, "list", broken)
    response = await shared.get("/jobs", headers={"X-Correlation-Id": "find-me"})
    assert response.status_code == 500
    assert "find-me" in as_json(response)["detail"]
    assert "inside" not in response.text
    assert "Traceback" not in response.text
    [logged] = shared.log_lines("the inside of the server")
    assert '"correlation_id":"find-me"' in logged


async def test_every_answer_forbids_what_a_browser_would_do_with_it(shared: Site) -> None:
    for path in ("/", "/jobs", "/metrics", "/docs", "/nothing"):
        headers = (await shared.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert headers["x-correlation-id"]
        assert "server" not in headers


async def test_head_is_get_without_a_body(shared: Site) -> None:
    response = await shared.client.head("/health/live")
    assert (response.status_code, response.content) == (200, b"")
    assert (await shared.get("/health/live")).status_code == 200


async def test_each_request_is_logged_once_with_its_correlation_id(shared: Site) -> None:
    await shared.get("/jobs?address=run.echo", headers={"X-Correlation-Id": "look-here"})
    await shared.get("/health/live")
    [line] = shared.log_lines("look-here")
    assert '"message":"request"' in line
    assert "run.echo" not in line


# --- life ---------------------------------------------------------------------------------------------------------


async def test_a_taken_port_is_said_before_anything_starts(database_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = made(database_url, tmp_path, Hold(), HTTP_PORT=str(port))
        with pytest.raises(Faults, match=f"port {port} on 127.0.0.1 is taken"):
            await worker.start()
    assert not worker.adapters.opened


async def test_metrics_have_a_port_of_their_own_with_nothing_else(database_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    async with running(database_url, tmp_path, METRICS_PROMETHEUS_PORT=str(port)) as site:
        beside = f"http://127.0.0.1:{port}"
        for path in ("/metrics", "/health/ready"):
            assert (await site.get(beside + path)).status_code == 200
            assert (await site.get(path)).status_code == 200
        assert (await site.get(beside + "/jobs")).status_code == 404
        assert (await site.post(beside + "/commands/run.echo", json={"text": "a"})).status_code == 404


async def test_signals_are_left_to_the_supervisor(database_url: str, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with running(database_url, tmp_path) as site:
        await site.get("/health/live")
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_stopping_does_not_wait_for_idle_connections(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path) as site:
        await site.get("/health/live")
        reader, writer = await connected(site)
        began = time.perf_counter()
        report = await site.worker.stop()
        assert report.clean
        assert time.perf_counter() - began < 2.5
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        with pytest.raises(httpx.ConnectError):
            await site.get("/health/live")


async def test_an_answer_that_is_on_its_way_is_finished(site: Site) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> list[object]:
        entered.set()
        await go_on.wait()
        return []

    site.worker.adapters.ledger.leases.workers = slow  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(site.get("/workers"))
        await entered.wait()
        stopping = group.create_task(site.worker.http.stop())
        go_on.set()
        assert (await asking).json() == []
        await stopping


async def test_health_says_that_it_drains_until_the_last(site: Site) -> None:
    job_id = as_json(await site.post("/commands/run.held", json={}))["job_id"]
    await site.hold.begun.wait()
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(site.worker.stop())
        await site.worker.supervisor.stopping.wait()
        ready = await site.get("/health/ready")
        assert (ready.status_code, as_json(ready)["phase"]) == (503, "draining")
        assert (await site.get(f"/jobs/{job_id}")).status_code == 200
        refused = await site.post("/commands/run.echo", json={"text": "a"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        site.hold.let_go.set()
        assert (await stopping).clean


async def test_a_server_that_breaks_ends_the_process(site: Site) -> None:
    await site.get("/health/live")
    server = site.worker.http.server
    server.should_exit = True
    await site.worker.supervisor.stopping.wait()
    assert site.worker.supervisor.failed
