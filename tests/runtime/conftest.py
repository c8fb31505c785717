"""The command line in this process, on modules and a database of a test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.kit import own_modules, services
from tests.kit.command_line import CommandLine
from tests.kit.databases import databases_on


@pytest.fixture
def millrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """`millrace` with the modules of `tests.kit.own_modules`; one of them is broken."""
    with own_modules.instead(own_modules.write(tmp_path, broken=True)):
        yield CommandLine(tmp_path, monkeypatch, {})


@pytest.fixture(scope="module")
def shared_database_url(postgres: services.Running) -> Iterator[str]:
    """A migrated database for the command lines of one file. They have event loops of their own, so this has, too."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        databases = runner.run(stack.enter_async_context(databases_on(postgres.url)))
        yield runner.run(stack.enter_async_context(databases.fresh()))
        runner.run(stack.aclose())


@pytest.fixture
def with_database(millrace: CommandLine, shared_database_url: str) -> CommandLine:
    """`millrace` on a real database."""
    millrace.set(DB_POSTGRES_URL=shared_database_url)
    return millrace
