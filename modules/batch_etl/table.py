"""The target table: what it is, what the dataset needs it to be, and the statements that lie between.

A table is made when it isn't there. One that is there may belong to others: its order of columns does not matter,
columns that the dataset doesn't know are left alone, and a unique index does for a primary key. Compatible changes
are made (a new column, a wider type, a dropped NOT NULL); anything else is refused with the difference.
"""

from __future__ import annotations

import re

import msgspec

from contracts import sql
from contracts.dataset import Column, Dataset
from contracts.errors import BadInput
from contracts.ports.database import Queries
from modules.batch_etl.rules import Rules

_TYPES = {
    "text": "text",
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "json": "jsonb",
    "uuid": "uuid",
}
_HOLDS = {"text": {"character varying"}}
"""Other types of a table that hold whatever ours does."""
_WIDENS = {
    "bigint": re.compile(r"smallint|integer"),
    "double precision": re.compile(r"real"),
    "text": re.compile(r"character varying\(\d+\)"),
}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")

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


async def inspect(db: Queries, qualified: str) -> Table | None:
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


async def is_empty(db: Queries, qualified: str) -> bool:
    """Whether it has no row at all."""
    return not await db.fetch_value(f"select exists (select from {sql.table(qualified)})")  # noqa: S608 - quoted


def sql_type(column: Column) -> str:
    """The type of a column, as `format_type` writes it."""
    if column.type == "decimal":
        return f"numeric({column.precision},{column.scale})"
    return _TYPES[column.type]


def create(dataset: Dataset, rules: Rules) -> list[str]:
    """Makes the table without its key, which is built when the rows are in."""
    lines = [
        f"{sql.name(rule.name)} {sql_type(rule.column)}{' not null' if rule.required else ''}" for rule in rules.columns
    ]
    made = [f"create table {sql.table(dataset.table)} ({', '.join(lines)})"]
    schema, _, _ = dataset.table.rpartition(".")
    return [f"create schema if not exists {sql.name(schema)}", *made] if schema else made


def add_key(dataset: Dataset) -> str:
    """Builds the primary key."""
    return f"alter table {sql.table(dataset.table)} add primary key ({sql.names(dataset.key)})"


async def changes(db: Queries, dataset: Dataset, rules: Rules, table: Table) -> list[str]:
    """The statements that make an existing table fit; raises `BadInput` with everything that can't be made to."""
    faults: list[str] = []
    if table.kind not in ("r", "p"):
        kinds = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index"}
        raise BadInput(f"{dataset.table} is {kinds.get(table.kind, 'not a table')}: a dataset is loaded into a table")
    statements: list[str] = []
    empty: bool | None = None
    for rule in rules.columns:
        there = table.columns.get(rule.name)
        if there is None:
            if empty is None:
                empty = await is_empty(db, dataset.table)
            statement, fault = _new_column(dataset, rule.column, required=rule.required, empty=empty)
        else:
            statement, fault = _changed_column(dataset, rule.column, there, required=rule.required, table=table)
        statements += statement
        faults += fault
    known = {column.name for column in dataset.columns}
    faults += [
        f"column {column.name}: the table needs a value (not null, without a default), the dataset does not declare it"
        for column in table.columns.values()
        if column.name not in known and column.not_null and not column.has_default and not column.generated
    ]
    if dataset.key and dataset.mode != "replace" and table.unique_on(dataset.key) is None and not faults:
        missing = [name for name in dataset.key if name not in table.columns]
        if not missing:
            faults += await _duplicate_keys(db, dataset)
        statements.append(f"create unique index on {sql.table(dataset.table)} ({sql.names(dataset.key)})")
    if faults:
        raise BadInput(
            [f"table {dataset.table} does not fit dataset {dataset.name}, and can't be changed without harm:"]
            + [f"  {fault}" for fault in faults]
        )
    return statements


def _new_column(dataset: Dataset, column: Column, *, required: bool, empty: bool) -> tuple[list[str], list[str]]:
    add = f"alter table {sql.table(dataset.table)} add column {sql.name(column.name)} {sql_type(column)}"
    if not required:
        return [add], []
    if column.default is not None:
        default = str(column.default).lower() if isinstance(column.default, bool) else str(column.default)
        return [f"{add} not null default {sql.literal(default)}"], []
    if empty:
        return [f"{add} not null"], []
    return [], [f"column {column.name}: is new and not nullable, but the table has rows; give it a default"]


def _changed_column(
    dataset: Dataset, column: Column, there: TableColumn, *, required: bool, table: Table
) -> tuple[list[str], list[str]]:
    if there.generated:
        return [], [f"column {column.name}: is generated by the table, so it can't be loaded"]
    statements, faults = [], []
    alter = f"alter table {sql.table(dataset.table)} alter column {sql.name(column.name)}"
    wanted = sql_type(column)
    if there.type != wanted and not _holds(there.type, wanted):
        if _widens(there.type, wanted):
            statements.append(f"{alter} type {wanted}")
        else:
            faults.append(f"column {column.name}: the table has {there.type}, the dataset declares {wanted}")
    if there.not_null and not required:
        if any(unique.is_primary and column.name in unique.columns for unique in table.uniques):
            faults.append(f"column {column.name}: is in the table's primary key, the dataset declares it nullable")
        else:
            statements.append(f"{alter} drop not null")
    return statements, faults


def _holds(there: str, wanted: str) -> bool:
    if there in _HOLDS.get(wanted, ()):
        return True
    ours, theirs = _NUMERIC.fullmatch(wanted), _NUMERIC.fullmatch(there)
    if ours is None:
        return False
    return there == "numeric" or (theirs is not None and _fits(ours, theirs))


def _widens(there: str, wanted: str) -> bool:
    ours, theirs = _NUMERIC.fullmatch(wanted), _NUMERIC.fullmatch(there)
    if ours is not None:
        return theirs is not None and _fits(theirs, ours)
    return wanted in _WIDENS and _WIDENS[wanted].fullmatch(there) is not None


def _fits(small: re.Match[str], large: re.Match[str]) -> bool:
    precision, scale = int(small[1]), int(small[2])
    return int(large[2]) >= scale and int(large[1]) - int(large[2]) >= precision - scale


async def _duplicate_keys(db: Queries, dataset: Dataset) -> list[str]:
    key = sql.names(dataset.key)
    twice = await db.fetch_value(
        f"select count(*) from (select from {sql.table(dataset.table)} group by {key} having count(*) > 1 limit 1000) d"  # noqa: S608
    )
    if not twice:
        return []
    many = "at least 1000" if twice == 1000 else str(twice)
    return [f"key ({', '.join(dataset.key)}): is not unique in the table: {many} keys are there more than once"]
