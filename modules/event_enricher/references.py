"""Rows of a table by their key, through the cache: what a batch asks for that is not there is one statement."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from contracts import sql
from contracts.enrichment import Enrichment, Lookup
from contracts.errors import Permanent, Unavailable
from contracts.event import Event
from contracts.ports import Cache, Metrics
from contracts.ports.database import Queries
from modules.event_enricher.measures import LOOKUPS

Reference = tuple[msgspec.Raw, ...]
"""The values of a row in JSON, in the order of their declaration."""

ARRAYS = {"text": "text[]", "int": "bigint[]", "uuid": "uuid[]", "date": "date[]"}
"""What keys are given to the server as, by the event's type: the table's key may be of a narrower one."""
NOTHING = b"null"
"""What the cache has for a key that the table had not."""

_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class References:
    """Of one enrichment. An entry of the cache is under a hash of the declaration, so that none outlives an edit, and
    of its key, which may be long, or personal."""

    def __init__(self, enrichment: Enrichment, lookup: Lookup, event: Event) -> None:
        type_ = ARRAYS[event.column(lookup.field).type]
        values = ", ".join(f"{sql.name(added.column)} as v{at}" for at, added in enumerate(lookup.add))
        self._sql = (
            f"select {sql.name(lookup.key)}::{type_.removesuffix('[]')} as key, {values} "  # noqa: S608 - quoted
            f"from {sql.table(lookup.table)} where {sql.name(lookup.key)} = any($1::{type_})"
        )
        self._lookup = lookup
        self._enrichment = enrichment.name
        self._prefix = f"enrich:{enrichment.name}:{hashlib.sha256(msgspec.json.encode(lookup)).hexdigest()[:12]}:"

    async def of(
        self, keys: Collection[Any], *, db: Queries, cache: Cache, metrics: Metrics, anew: bool = False
    ) -> Mapping[Any, Reference]:
        """Those that are there. With `anew` what the cache knows to be missing is asked for again."""
        found: dict[Any, Reference] = {}
        asked: dict[Any, str] = {}
        known_missing = 0
        places = {key: self._place(key) for key in keys}
        cached_at = await cache.get_many(places.values())
        for key, place in places.items():
            cached = cached_at.get(place)
            if cached is None or (anew and cached == NOTHING):
                asked[key] = place
            elif cached == NOTHING:
                known_missing += 1
            else:
                found[key] = _decoder.decode(cached)
        outcomes = {"cache": len(found), "known_missing": known_missing}
        if asked:
            read = await self._read(list(asked), db)
            await self._keep(asked, read, cache)
            found |= {key: _decoder.decode(row) for key, row in read.items()}
            outcomes |= {"table": len(read), "missing": len(asked) - len(read)}
        for outcome, count in outcomes.items():
            if count:
                metrics.add(LOOKUPS, count, enrichment=self._enrichment, outcome=outcome)
        return found

    async def check(self, db: Queries) -> None:
        """Raises `Unavailable` where the table can't be asked."""
        await self._read([], db)

    async def _read(self, keys: list[Any], db: Queries) -> dict[Any, bytes]:
        # No text of the server holds NUL: asked for, it would refuse the whole batch.
        askable = [key for key in keys if not (isinstance(key, str) and "\0" in key)]
        try:
            rows = await db.fetch(self._sql, askable)
        except Permanent as error:
            # It is the statement that is wrong, not the events: they wait until the table is as it was declared.
            what = f"table {self._lookup.table} of enrichment {self._enrichment}"
            raise Unavailable(what, f"{error}; load it, or declare the lookup as it is") from error
        return {key: _encoder.encode(values) for key, *values in (row.values() for row in rows)}

    async def _keep(self, asked: Mapping[Any, str], read: Mapping[Any, bytes], cache: Cache) -> None:
        if fresh_s := self._lookup.fresh_s:
            await cache.set_many({asked[key]: row for key, row in read.items()}, ttl_s=fresh_s)
        if missing_s := self._lookup.missing_s:
            missing = {place: NOTHING for key, place in asked.items() if key not in read}
            await cache.set_many(missing, ttl_s=missing_s)

    def _place(self, key: Any) -> str:
        return self._prefix + hashlib.blake2b(str(key).encode(), digest_size=16).hexdigest()
