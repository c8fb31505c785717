"""PostgreSQL: the embedded server that ships is the native way."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.database.embedded import EmbeddedServer
from tests.kit.services.containers import from_container
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
