"""A table as PostgreSQL has it: what whoever writes into one that may be somebody else's has to know."""

from __future__ import annotations

import re

import msgspec

from contracts import sql
from contracts.ports.database import Db, Queries

NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_HOLDS = {"text": {"character varying"}}
"""Other types of a table that hold whatever ours does."""

_TABLE = """
select c.oid::bigint as oid, c.relkind::text as kind, c.relhastriggers as triggers,
       pg_has_role(c.relowner, 'usage') as owned, c.relchecks::bigint as checks,
       (select count(*) from pg_index where indrelid = c.oid and (indisunique or indisexclusion)) as exclusions
from pg_class c where c.oid = to_regclass($1)
"""
_COLUMNS = """
select attname::text as name, format_type(atttypid, atttypmod) as type, attnotnull as not_null,
       atthasdef or attidentity <> '' as has_default, attgenerated <> '' or attidentity = 'a' as generated
from pg_attribute where attrelid = $1::oid and attnum > 0 and not attisdropped order by attnum
"""
_UNIQUE = """
select i.indisprimary as is_primary, con.conname::text as constraint_name, pg_get_constraintdef(con.oid) as definition,
       array(select a.attname::text from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality as k (num, place)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num order by k.place) as columns
from pg_index i left join pg_constraint con on con.conindid = i.indexrelid and con.contype in ('p', 'u')
where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
  and i.indexprs is null
order by i.indisprimary desc, i.indexrelid
"""


class TableColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column as PostgreSQL has it."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    generated: bool


class Unique(msgspec.Struct, frozen=True, kw_only=True):
    """A unique index that can decide conflicts; with the constraint that it stands for, if any."""

    columns: tuple[str, ...]
    is_primary: bool
    constraint_name: str | None
    definition: str | None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table that is there. `triggers` include those of foreign keys, to it and from it; `exclusions` are the unique
    indexes, and whatever else lets one row keep another out."""

    oid: int
    kind: str
    owned: bool
    triggers: bool
    checks: int
    exclusions: int
    columns: dict[str, TableColumn]
    uniques: tuple[Unique, ...]

    def unique_on(self, key: tuple[str, ...]) -> Unique | None:
        return next((unique for unique in self.uniques if set(unique.columns) == set(key)), None)

    def has_only(self, key: tuple[str, ...]) -> bool:
        """Whether this key, and nothing else, can keep a row out."""
        return not self.checks and self.exclusions == 1 and self.unique_on(key) is not None


async def table_named(db: Queries, qualified: str) -> Table | None:
    """The table of this name on the search path, or None."""
    found = await db.fetch_one(_TABLE, sql.table(qualified))
    if found is None:
        return None
    columns = [TableColumn(**row) for row in await db.fetch(_COLUMNS, found["oid"])]
    uniques = [Unique(**{**row, "columns": tuple(row["columns"])}) for row in await db.fetch(_UNIQUE, found["oid"])]
    return Table(
        oid=found["oid"],
        kind=found["kind"],
        owned=found["owned"],
        triggers=found["triggers"],
        checks=found["checks"],
        exclusions=found["exclusions"],
        columns={column.name: column for column in columns},
        uniques=tuple(uniques),
    )


async def made_or_there(db: Db, qualified: str, definition: str, *, by: str) -> Table | None:
    """Makes the table where it isn't there, and returns None; else what is there. Those who do this at once for one
    module (`by`) take turns."""
    async with db.transaction() as tx:
        await tx.fetch_value("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{by} {qualified}")
        there = await table_named(tx, qualified)
        if there is None:
            await tx.execute(definition)
    return there


def holds(there: str, wanted: str) -> bool:
    """Whether a column of the type `there` takes every value of the type `wanted`, as `format_type` writes them."""
    if there in _HOLDS.get(wanted, ()):
        return True
    ours, theirs = NUMERIC.fullmatch(wanted), NUMERIC.fullmatch(there)
    if ours is None:
        return False
    return there == "numeric" or (theirs is not None and fits(ours, theirs))


def fits(small: re.Match[str], large: re.Match[str]) -> bool:
    """Whether each number of one `NUMERIC` is one of the other."""
    precision, scale = int(small[1]), int(small[2])
    return int(large[2]) >= scale and int(large[1]) - int(large[2]) >= precision - scale
