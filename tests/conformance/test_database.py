"""`PostgresDb` keeps the promises of `Db`: on the server of the run, and as `memory`."""

from __future__ import annotations

import pytest

from adapters.database.embedded import EmbeddedServer
from adapters.database.postgres import Limits, PostgresDb
from tests.conformance.database_suite import exercise_database
from tests.kit.databases import opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


async def test_postgres_by_url(empty_database_url: str) -> None:
    async with opened(PostgresDb(empty_database_url, limits=Limits(pool_size=5))) as db:
        await exercise_database(db)


async def test_memory() -> None:
    async with opened(PostgresDb(server=EmbeddedServer(ephemeral=True), limits=Limits(pool_size=5))) as db:
        await exercise_database(db)


async def test_scoped(empty_database_url: str) -> None:
    """A scope without a fence changes nothing but the name."""
    async with opened(PostgresDb(empty_database_url, limits=Limits(pool_size=5))) as db:
        await exercise_database(db.scoped(name="conformance", guard=None))
