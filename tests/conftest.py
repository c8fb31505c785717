"""What every test has: real services once a run, a database of its own, a clock that it turns itself."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from adapters.clock.manual import ManualClock
from adapters.database.cassandra.place import Place
from adapters.database.postgres import PostgresDb
from tests.kit import services
from tests.kit.databases import LIMITS, Databases, databases_on, opened
from tests.kit.kafka_rights import grant_documented
from tests.kit.keyspaces import Keyspaces, keyspaces_on

# A busy machine is no fault: nothing here asserts a time.
settings.register_profile("millrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("millrace")

# Suites are plain modules that tests call: their asserts are to be as telling as those of tests.
pytest.register_assert_rewrite("tests.conformance")

SERVICES = {
    "postgres": services.Postgres(),
    "redis_server": services.Redis(),
    "kafka": services.Kafka(),
    "minio": services.Minio(),
    "cassandra": services.Cassandra(),
    "secured_kafka": services.SecuredKafka(),
    "secured_redis": services.SecuredRedis(),
    "vault": services.Vault(),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the chosen tests need, outside of any test's own deadline."""
    if session.config.option.collectonly:
        return
    asked_for = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name, service in SERVICES.items():
        if name in asked_for:
            service.start()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what was started, also when the run was interrupted."""
    for service in SERVICES.values():
        service.stop()
    if (told := getattr(session.config, "workeroutput", None)) is not None:
        told["untried"] = msgspec.to_builtins(services.untried())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes that share the tests is done; each had services of its own."""
    for each in getattr(node, "workeroutput", {}).get("untried", ()):
        services.remember(msgspec.convert(each, services.Untried))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The last thing told is what was not tried."""
    if untried := services.untried():
        terminalreporter.section("not tried")
        for service in untried:
            terminalreporter.line(f"{service.what}: {service.reason}. {service.remedy}")


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A socket or coroutine that a file's tests leave behind fails that file, not whoever's garbage it is found in."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """asyncio with its debug checks: a coroutine that was never awaited or a callback that blocks is told."""
    return "asyncio", {"debug": True}


@pytest.fixture
async def unwatched() -> AsyncIterator[None]:
    """Without asyncio's debug checks, which make ten seconds of one: for what is tried in other processes."""
    loop = asyncio.get_running_loop()
    loop.set_debug(False)
    yield
    loop.set_debug(True)


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still until the test advances it."""
    return ManualClock()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Files whose right answers are known."""
    return services.reference_data()


@pytest.fixture(scope="session")
def postgres() -> services.Running:
    """One PostgreSQL for the run."""
    return SERVICES["postgres"].require()


@pytest.fixture(scope="session")
def redis_server() -> services.Running:
    """One Redis for the run; whoever needs it empty flushes a database of their own number."""
    return SERVICES["redis_server"].require()


@pytest.fixture(scope="session")
def kafka() -> services.Running:
    """One Kafka for the run; `url` is its bootstrap servers, and its topics are made by whoever needs them."""
    return SERVICES["kafka"].require()


@pytest.fixture(scope="session")
def minio() -> services.Running:
    """One MinIO for the run; whoever needs a bucket makes one of their own."""
    return SERVICES["minio"].require()


@pytest.fixture(scope="session")
def cassandra() -> services.CassandraRunning:
    """One Cassandra for the run; whoever needs it has a keyspace of their own (`keyspace`)."""
    running = SERVICES["cassandra"].require()
    assert isinstance(running, services.CassandraRunning)
    return running


@pytest.fixture(scope="session")
async def keyspaces(cassandra: services.CassandraRunning, anyio_backend: object) -> AsyncIterator[Keyspaces]:
    """Makes keyspaces on it."""
    async with keyspaces_on(cassandra.url) as made:
        yield made


@pytest.fixture
async def keyspace(keyspaces: Keyspaces) -> AsyncIterator[Place]:
    """A keyspace for this test alone, as one who may do all there."""
    async with keyspaces.fresh() as place:
        yield place


@pytest.fixture(scope="session")
async def secured_kafka(anyio_backend: object) -> services.SecuredRunning:
    """One Kafka with listeners for TLS and SASL; its user has been granted what docs/security.md says, and no more."""
    running = SERVICES["secured_kafka"].require()
    assert isinstance(running, services.SecuredRunning)
    await grant_documented(running.url)
    return running


@pytest.fixture(scope="session")
def secured_redis() -> services.SecuredRedisRunning:
    """One Redis for the run that speaks TLS only; each test makes a user of its own."""
    running = SERVICES["secured_redis"].require()
    assert isinstance(running, services.SecuredRedisRunning)
    return running


@pytest.fixture(scope="session")
def vault() -> services.Running:
    """One Vault for the run; whoever uses it has paths, policies and roles of their own."""
    return SERVICES["vault"].require()


@pytest.fixture(scope="session")
async def databases(postgres: services.Running, anyio_backend: object) -> AsyncIterator[Databases]:
    """Makes databases on it."""
    async with databases_on(postgres.url) as made:
        yield made


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A migrated database for this test alone."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[str]:
    """The same, without any schema."""
    async with databases.fresh(migrated=False) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[PostgresDb]:
    """An open pool on `database_url`."""
    async with opened(PostgresDb(database_url, limits=LIMITS)) as made:
        yield made
