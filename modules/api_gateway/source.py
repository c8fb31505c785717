"""What a source is now: the columns that it has, and a version that is another one after any change of its rows.

PostgreSQL counts, for each table, the rows that were ever inserted, updated and deleted. Those counts, of the source
and of every table behind it, are the version. So it sees whatever writes: jobs, streams, people with psql. It says
nothing of its own accord: it is looked at, at most once in `LOOK_S`, and only while somebody asks for the resource.
A piece of work makes its own counts known as it commits (the database adapter sees to that); what others write is
known once their connection has been idle for PostgreSQL's ten seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contracts import sql
from contracts.errors import Unavailable
from contracts.ports import Clock
from contracts.ports.database import Queries
from contracts.resource import Resource
from modules.api_gateway.flight import Flight
from modules.api_gateway.values import Type, type_of

LOOK_S = 1.0
"""What is served may be so much older than a commit, and no more."""

_LOOK = """
with recursive parts (oid) as (
    select to_regclass($1)::oid
    union
    select behind.oid from parts cross join lateral (
        select depends.refobjid from pg_rewrite rule
        join pg_depend depends on depends.classid = 'pg_rewrite'::regclass and depends.objid = rule.oid
            and depends.refclassid = 'pg_class'::regclass and depends.deptype = 'n'
        where rule.ev_class = parts.oid
        union all
        select inhrelid from pg_inherits where inhparent = parts.oid
    ) as behind (oid)
)
select to_regclass($1) is not null as there,
    (select string_agg(
        concat_ws(':', oid, pg_relation_filenode(oid), pg_stat_get_tuples_inserted(oid),
            pg_stat_get_tuples_updated(oid), pg_stat_get_tuples_deleted(oid)),
        ',' order by oid) from parts) as version,
    (select json_agg(json_build_array(a.attname, coalesce(base.typname, t.typname), not a.attnotnull) order by a.attnum)
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        left join pg_type base on t.typtype = 'd' and base.oid = t.typbasetype
        where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped) as columns
"""


class Column(msgspec.Struct, frozen=True):
    """A column as the database has it."""

    name: str
    type: Type
    nullable: bool


class Look(msgspec.Struct, frozen=True):
    """What a source was when it was looked at."""

    version: str
    columns: Mapping[str, Column]


class Source:
    """Of one resource, for any number of requests at once: those that find the last look too old share the next."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._flight: Flight[Look] = Flight()
        self._looked_at = float("-inf")
        self.last: Look | None = None
        """For the documents: types are known once somebody has looked."""

    async def now(self, db: Queries, clock: Clock) -> Look:
        """Raises `Unavailable` where the table is not there, or is not as it was declared."""
        if self.last is not None and clock.monotonic() - self._looked_at < LOOK_S:
            return self.last

        async def look() -> Look:
            began_at = clock.monotonic()
            self.last = await self._read(db)
            self._looked_at = began_at
            return self.last

        return await self._flight.of("", look)

    async def _read(self, db: Queries) -> Look:
        resource = self._resource
        row = await db.fetch_one(_LOOK, sql.table(resource.source))
        if row is None or not row["there"]:
            raise Unavailable(f"resource {resource.name}", f"there is no {resource.source} yet: load it first")
        found = {name: Column(name, type_of(type_), nullable) for name, type_, nullable in row["columns"]}
        if missing := [name for name in resource.columns if name not in found]:
            raise Unavailable(
                f"resource {resource.name}",
                f"{resource.source} has no column {', '.join(missing)}; declare the resource as the table is",
            )
        return Look(str(row["version"]), {name: found[name] for name in resource.columns})
