"""The command line in this process, on modules and a database of a test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.database.postgres import PostgresDb
from tests.kit import own_modules, services
from tests.kit.command_line import CommandLine
from tests.kit.databases import LIMITS, databases_on, opened


@pytest.fixture
def millrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """`millrace` with the modules of `tests.kit.own_modules`; one of them is broken."""
    with own_modules.instead(own_modules.write(tmp_path, broken=True)):
        yield CommandLine(tmp_path, monkeypatch, {})


class Blocking:
    """Databases for command lines: these have event loops of their own, so nothing here may be in one."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._databases = self._runner.run(self._stack.enter_async_context(databases_on(url)))

    @contextmanager
    def fresh(self, *, migrated: bool) -> Iterator[str]:
        made = self._databases.fresh(migrated=migrated)
        yield self._runner.run(made.__aenter__())
        self._runner.run(made.__aexit__(None, None, None))

    def execute(self, url: str, sql: str) -> None:
        async def act() -> None:
            async with opened(PostgresDb(url, limits=LIMITS)) as db:
                await db.execute(sql)

        self._runner.run(act())

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture(scope="session")
def blocking_databases(postgres: services.Running) -> Iterator[Blocking]:
    made = Blocking(postgres.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_database_url(blocking_databases: Blocking) -> Iterator[str]:
    """A migrated database for the command lines of one file."""
    with blocking_databases.fresh(migrated=True) as url:
        yield url


@pytest.fixture
def empty_url(blocking_databases: Blocking) -> Iterator[str]:
    """A database without a schema."""
    with blocking_databases.fresh(migrated=False) as url:
        yield url


@pytest.fixture
def with_database(millrace: CommandLine, shared_database_url: str) -> CommandLine:
    """`millrace` on a real database."""
    millrace.set(DB_POSTGRES_URL=shared_database_url)
    return millrace
