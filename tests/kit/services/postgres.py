"""PostgreSQL: the embedded server that ships is the native way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from adapters.database.embedded import EmbeddedServer
from contracts.errors import Unavailable
from tests.kit.services.containers import from_container
from tests.kit.services.missing import missing
from tests.kit.services.service import CannotStart, Running, Service

NAME = "PostgreSQL"
IMAGE = "postgres:18-alpine"


class Postgres(Service):
    def __init__(self) -> None:
        remedy = "Set MILLRACE_TEST_POSTGRES_URL to a server where databases may be made, or start Docker."
        super().__init__(NAME, ways=(_container, _native), remedy=remedy)


def _container() -> Running:
    def make() -> Any:
        from testcontainers.community.postgres import PostgresContainer

        return PostgresContainer(IMAGE, driver=None)

    return from_container(NAME, IMAGE, make, lambda container: str(container.get_connection_url()))


def _native() -> Running:
    server = EmbeddedServer(ephemeral=True, durable=False)
    try:
        asyncio.run(server.start())
    except Exception as error:  # the reason is told with the skip
        raise CannotStart(f"the embedded server does not start ({error})") from error
    return Running(name=NAME, url=server.url().reveal(), how=server.address, end=lambda: asyncio.run(server.leave()))


class OwnPostgres:
    """A server of one test alone, which it may stop, crash and start."""

    def __init__(self, embedded: EmbeddedServer) -> None:
        self._embedded = embedded
        self.url = embedded.url().reveal()

    async def stop(self) -> None:
        """An orderly end, which ends every session."""
        await self._embedded.stop()

    async def crash(self) -> None:
        """All its processes end at once and nothing is saved: what was committed comes back from the log."""
        connection = await asyncpg.connect(self.url)
        try:
            data = Path(await connection.fetchval("select current_setting('data_directory')"))
        finally:
            await connection.close()
        os.kill(int((data / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGQUIT)

    async def start(self) -> None:
        """Returns when it answers."""
        await self._embedded.start()
        await self._embedded.leave()  # it was in use before


@asynccontextmanager
async def own_postgres() -> AsyncIterator[OwnPostgres]:
    """Started; gone after the block. The test is skipped (in CI: fails) when there can be none."""
    embedded = EmbeddedServer(ephemeral=True, durable=False)
    try:
        await embedded.start()
    except Unavailable as error:
        missing("PostgreSQL of a test's own", reason=str(error), remedy=f"See what {sys.platform} lacks for it.")
    try:
        yield OwnPostgres(embedded)
    finally:
        await embedded.leave()
