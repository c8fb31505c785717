"""A database for each test: a copy of one that was migrated once."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from adapters.database.names import quote
from adapters.database.postgres import Limits, PostgresDb
from contracts.ports import Checked
from migrations import runner

D = TypeVar("D", bound=Checked)

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
PREFIX = f"millrace_test_{HOST}_"
"""The names of databases say which process of which machine made them, so that a killed one's can be told."""

LIMITS = Limits(pool_size=5, acquire_timeout_s=10)


class Databases:
    """Makes and drops databases on one server; `template` is migrated to the newest schema."""

    _numbers = itertools.count()  # of the process: there may be several of these

    def __init__(self, admin: PostgresDb, url: str) -> None:
        self._admin = admin
        self._url = url
        self._template: str | None = None

    @asynccontextmanager
    async def fresh(self, *, migrated: bool = True) -> AsyncIterator[str]:
        """The URL of a database that is gone after the block."""
        name = await self._make(await self._migrated() if migrated else "template1")
        try:
            yield self.url(name)
        finally:
            await self._admin.execute(f"drop database {quote(name)} with (force)")

    def url(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    async def clear_leftovers(self) -> None:
        """Those whose process was killed."""
        ours = "select datname::text as name from pg_database where starts_with(datname, $1)"
        rows = await self._admin.fetch(ours, PREFIX)
        for row in rows:
            if not _lives(int(row["name"].removeprefix(PREFIX).partition("_")[0])):
                await self._admin.execute(f"drop database if exists {quote(row['name'])} with (force)")

    async def drop_template(self) -> None:
        if self._template is not None:
            await self._admin.execute(f"drop database if exists {quote(self._template)} with (force)")

    async def _migrated(self) -> str:
        if self._template is None:
            name = await self._make("template1")
            db = PostgresDb(self.url(name), limits=LIMITS)
            await db.open()
            try:
                await runner.up(db)
            finally:
                await db.close()
            self._template = name
        return self._template

    async def _make(self, template: str) -> str:
        name = f"{PREFIX}{os.getpid()}_{next(self._numbers)}"
        await self._admin.execute(f"create database {quote(name)} template {quote(template)}")
        return name


@asynccontextmanager
async def databases_on(url: str) -> AsyncIterator[Databases]:
    admin = PostgresDb(url, limits=LIMITS)
    await admin.open()
    databases = Databases(admin, url)
    try:
        await databases.clear_leftovers()
        yield databases
        await databases.drop_template()
    finally:
        await admin.close()


@asynccontextmanager
async def opened(db: D) -> AsyncIterator[D]:
    await db.open()
    try:
        yield db
    finally:
        await db.close()


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        return True
    return False
