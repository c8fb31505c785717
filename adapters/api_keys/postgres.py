"""Implements `ApiKeys` on the ledger's PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from contracts.api_key import ApiKey
from contracts.errors import Conflict, NotFound
from contracts.ports.database import Queries

_COLUMNS = "id, name, digest, scopes, created_at, expires_at, revoked_at, last_used_at"
_ALL = f"select {_COLUMNS} from millrace.api_keys order by created_at desc, id"  # noqa: S608 - names of columns
_ADD = f"""
insert into millrace.api_keys ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name) where revoked_at is null do nothing
"""  # noqa: S608 - names of columns
_REVOKE = f"""
update millrace.api_keys set revoked_at = coalesce(revoked_at, now())
where id = $1 or (name = $1 and revoked_at is null) returning {_COLUMNS}
"""  # noqa: S608 - names of columns
_USED = """
update millrace.api_keys set last_used_at = now()
where id = any($1::text[]) and (last_used_at is null or last_used_at < now() - interval '1 minute')
"""


class PostgresApiKeys:
    """Of the database that it is given, which somebody else opens and closes."""

    def __init__(self, db: Queries) -> None:
        self._db = db

    async def all(self) -> list[ApiKey]:
        return [_key(row) for row in await self._db.fetch(_ALL)]

    async def add(self, key: ApiKey) -> None:
        values = (key.id, key.name, key.digest, list(key.scopes), key.created_at)
        if not await self._db.execute(_ADD, *values, key.expires_at, key.revoked_at, key.last_used_at):
            raise Conflict(f"there is a key {key.name!r} already; revoke it first, or take another name")

    async def revoke(self, word: str) -> ApiKey:
        rows = await self._db.fetch(_REVOKE, word)
        if not rows:
            raise NotFound(f"there is no key {word!r}; see `millrace keys list`")
        return _key(rows[0])

    async def used(self, ids: Collection[str]) -> None:
        await self._db.execute(_USED, list(ids))


def _key(row: Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "scopes": tuple(row["scopes"])})
