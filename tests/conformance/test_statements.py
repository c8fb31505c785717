"""`PostgresDb` keeps the promises of `Statements`.

Cassandra's turn at the same suite stands in tests/integration/test_cassandra.py, with all that needs its server.
"""

from __future__ import annotations

import pytest

from adapters.database.postgres import Limits, PostgresDb
from tests.conformance.statements_suite import SQL, exercise_statements
from tests.kit.databases import opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


async def test_postgres(empty_database_url: str) -> None:
    async with opened(PostgresDb(empty_database_url, limits=Limits(pool_size=5))) as db:
        await exercise_statements(db, SQL)
