"""Keyspaces on the Cassandra of the run, one for each test that asks."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec

from adapters.database.cassandra.db import CassandraDb
from adapters.database.cassandra.place import Limits, Place
from contracts.ports.secrets import Secret, fixed
from tests.kit.databases import opened

LIMITS = Limits(open_timeout_s=60, attempt_timeout_s=60, connect_timeout_s=30, request_timeout_s=60, check_timeout_s=10)
"""For a machine that has other things to do."""


def place_of(url: str, *, keyspace: str, **more: Any) -> Place:
    """A keyspace at `cassandra://USER:PASSWORD@HOST:PORT`."""
    parts = urlsplit(url)
    known: dict[str, Any] = {"user": parts.username, "password": fixed(Secret(parts.password or ""))}
    return Place(hosts=(f"{parts.hostname}:{parts.port}",), keyspace=keyspace, **{**known, **more})


class Keyspaces:
    """Made and dropped by one who may do all."""

    def __init__(self, url: str, admin: CassandraDb) -> None:
        self._url = url
        self._admin = admin
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        """An empty one, gone at the end of the block."""
        name = f"millrace_test_{os.getpid()}_{next(self._numbers)}"
        await self._admin.execute(f"drop keyspace if exists {name}")
        replicas = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        await self._admin.execute(f"create keyspace {name} with replication = {replicas} and durable_writes = false")
        try:
            yield place_of(self._url, keyspace=name)
        finally:
            await self._admin.execute(f"drop keyspace {name}")

    @asynccontextmanager
    async def role(self, password: str, *, on: Place, rights: str = "SELECT, MODIFY") -> AsyncIterator[Place]:
        """`on`, as somebody with these rights there and no others, who is gone at the end of the block."""
        name = f"{on.keyspace}_user"
        await self._admin.execute(f"create role {name} with password = '{password}' and login = true")
        try:
            for right in rights.split(", "):
                await self._admin.execute(f"grant {right} on keyspace {on.keyspace} to {name}")
            yield msgspec.structs.replace(on, user=name, password=fixed(Secret(password)))
        finally:
            await self._admin.execute(f"drop role {name}")

    async def change_password(self, user: Place, password: str) -> None:
        await self._admin.execute(f"alter role {user.user} with password = '{password}'")


@asynccontextmanager
async def keyspaces_on(url: str) -> AsyncIterator[Keyspaces]:
    async with opened(CassandraDb(place_of(url, keyspace="system"), limits=LIMITS)) as admin:
        yield Keyspaces(url, admin)
