"""Getting typed rows into the table, within one transaction: straight, merged, appended or swapped in.

straight  a table that is new or empty: COPY while the files are read, then the key's index in one go
merge     one statement over staged rows; rows that are the same are not touched at all
append    COPY behind what is there; with a key, rows whose key is there already are left out
replace   what belongs to the day goes, COPY of the new
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from contracts import sql
from contracts.dataset import Dataset
from contracts.errors import BadInput, Permanent
from contracts.ports.database import Tx
from contracts.table import Table, table_named
from modules.batch_etl import publish, straight, table
from modules.batch_etl.ahead import Ahead
from modules.batch_etl.encode import encoded, encoder
from modules.batch_etl.record import Counts
from modules.batch_etl.rules import Rules
from modules.batch_etl.sorter import Sorter, sort
from modules.batch_etl.straight import STAGE
from modules.batch_etl.threads import each_in_thread

if TYPE_CHECKING:
    import polars as pl

_LOCK = "select pg_advisory_xact_lock(hashtextextended('millrace.batch_etl ' || $1, 0))"
_SETTINGS = """
set local lock_timeout = '60s';
set local work_mem = '64MB';
set local maintenance_work_mem = '256MB'
"""


class Target:
    """The table, locked against other loads, and fit for the dataset."""

    def __init__(self, tx: Tx, dataset: Dataset, rules: Rules) -> None:
        self.tx = tx
        self.dataset = dataset
        self.rules = rules
        self.made = False
        self.straight = False
        """The table had no rows: all that it has now are of this load."""
        self.oid = 0
        self.table: Table | None = None

    @property
    def name(self) -> str:
        return sql.table(self.dataset.table)

    async def lock(self) -> None:
        """Waits for other loads into this table, at most a minute: then `Transient`."""
        await self.tx.execute(_SETTINGS)
        await self.tx.execute(_LOCK, self.dataset.table)
        self.table = await table_named(self.tx, self.dataset.table)
        self.oid = self.table.oid if self.table else 0

    async def prepare(self) -> None:
        """Make the table, or what it lacks."""
        if self.table is None:
            for statement in table.create(self.dataset, self.rules):
                await self.tx.execute(statement)
            self.made = True
        else:
            for statement in await table.changes(self.tx, self.dataset, self.rules, self.table):
                await self.tx.execute(statement)
        self.table = await table_named(self.tx, self.dataset.table)
        assert self.table is not None
        self.oid = self.table.oid

    async def load(self, frames: AsyncIterator[pl.DataFrame], sorter: Sorter, counts: Counts, day: date | None) -> None:
        """All rows of the sorter, and of the frames that did not go through it yet; fills `counts`, but for what was
        read and rejected."""
        if self.made or await self._can_go_straight():
            self.straight = True
            await straight.load(self, frames, sorter, counts)
        else:
            await sort(frames, sorter)
            await self._sorted(sorter, counts, day)
        counts.duplicate += sorter.duplicates

    async def _sorted(self, sorter: Sorter, counts: Counts, day: date | None) -> None:
        if self.dataset.mode == "replace":
            # Not truncated, though that were faster: who reads goes on reading the old rows until we commit.
            counts.removed = await self._remove(day)
            counts.loaded = await self.copy_sorted(sorter)
        elif not self.dataset.key:
            counts.loaded = await self.copy_sorted(sorter)
        else:
            await self._by_stage(sorter, counts)

    async def _can_go_straight(self) -> bool:
        """Whether the table is empty, ours to lock, and nothing else hangs on its rows."""
        assert self.table is not None
        if self.table.kind != "r" or self.table.triggers or not self.table.owned:
            return False
        if not await table.is_empty(self.tx, self.dataset.table):
            return False
        await self.tx.execute(f"lock table {self.name} in access exclusive mode")
        return await table.is_empty(self.tx, self.dataset.table)

    async def copy(self, frames: AsyncIterator[pl.DataFrame], into: str, *, freeze: bool = False) -> int:
        """The rows of all frames, each encoded while the one before it is sent."""
        columns = self.dataset.columns
        by = encoder(columns, exact=into == STAGE or self._has_declared_types())
        async with aclosing(Ahead(encoded(frames, by))) as source:
            names = [column.name for column in columns]
            return await self.tx.copy_in(into, source, columns=names, format=by.form, freeze=freeze)

    async def copy_sorted(self, sorter: Sorter, *, freeze: bool = False) -> int:
        return await self.copy(each_in_thread(sorter.frames()), self.dataset.table, freeze=freeze)

    async def stage(self, sorter: Sorter) -> int:
        """The sorter's rows in a temporary table."""
        lines = [f"{sql.name(column.name)} {sql.column_type(column)}" for column in self.dataset.columns]
        await self.tx.execute(f"create temporary table {STAGE} ({', '.join(lines)}) on commit drop")
        staged = await self.copy(each_in_thread(sorter.frames()), STAGE, freeze=True)
        await self.tx.execute(f"analyze {STAGE} ({sql.names(self.dataset.key)})")
        return staged

    def _has_declared_types(self) -> bool:
        assert self.table is not None
        there = self.table.columns
        return all(there[column.name].type == sql.column_type(column) for column in self.dataset.columns)

    async def _by_stage(self, sorter: Sorter, counts: Counts) -> None:
        staged = await self.stage(sorter)
        if self.dataset.publish is not None:
            await self.tx.execute(publish.note_table(self.dataset))
        statement = append_statement(self.dataset) if self.dataset.mode == "append" else merge_statement(self.dataset)
        merged = await self.tx.fetch_one(statement)
        assert merged is not None
        counts.loaded = merged["loaded"]
        counts.updated = merged["updated"]
        left = staged - counts.loaded - counts.updated
        if self.dataset.mode == "append":
            counts.duplicate += left
        else:
            counts.unchanged = left

    async def _remove(self, day: date | None) -> int:
        """The rows that are to be replaced. Nobody else may write until we are through."""
        await self.tx.execute(f"lock table {self.name} in share row exclusive mode")
        if self.dataset.partition_by is None:
            return await self.tx.execute(f"delete from {self.name}")  # noqa: S608
        assert day is not None
        column = sql.name(self.dataset.partition_by)
        if self.dataset.column(self.dataset.partition_by).type == "date":
            return await self.tx.execute(f"delete from {self.name} where {column} = $1", day)  # noqa: S608
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return await self.tx.execute(
            f"delete from {self.name} where {column} >= $1 and {column} < $2",  # noqa: S608
            start,
            start + timedelta(days=1),
        )


def merge_statement(dataset: Dataset) -> str:
    """New rows in, changed rows changed, the same rows left alone; counts what it did.

    Rows that are the same are sorted out by a join beforehand, because ON CONFLICT would lock, and so write, each of
    them. It still decides by itself: another writer may come between. A row that was inserted has no xmax.
    """
    target, key, columns = sql.table(dataset.table), dataset.key, [column.name for column in dataset.columns]
    rest = [name for name in columns if name not in key]
    same_key = " and ".join(f"t.{sql.name(name)} = s.{sql.name(name)}" for name in key)
    changed, action = "", "nothing"
    if rest:
        changed = f" or ({sql.names(rest, of='t')}) is distinct from ({sql.names(rest, of='s')})"
        sets = ", ".join(f"{sql.name(name)} = excluded.{sql.name(name)}" for name in rest)
        differs = f"({sql.names(rest, of='present')}) is distinct from ({sql.names(rest, of='excluded')})"
        action = f"update set {sets} where {differs}"
    return (
        f"with merged as (insert into {target} as present ({sql.names(columns)})"  # noqa: S608
        f" select {sql.names(columns, of='s')} from {STAGE} s left join {target} t on {same_key}"
        f" where t.{sql.name(key[0])} is null{changed} order by {sql.names(key, of='s')}"
        f" on conflict ({sql.names(key)}) do {action}"
        f" returning (xmax = 0) as fresh{publish.returned(dataset)}){publish.noted(dataset, 'merged')}"
        " select count(*) filter (where fresh) as loaded, count(*) filter (where not fresh) as updated from merged"
    )


def append_statement(dataset: Dataset) -> str:
    """Only rows whose key is not there."""
    target, key, columns = sql.table(dataset.table), dataset.key, [column.name for column in dataset.columns]
    return (
        f"with added as (insert into {target} as present ({sql.names(columns)})"  # noqa: S608
        f" select {sql.names(columns)} from {STAGE} order by {sql.names(key)} on conflict ({sql.names(key)}) do nothing"
        f" returning true as fresh{publish.returned(dataset)}){publish.noted(dataset, 'added')}"
        " select count(*) as loaded, 0 as updated from added"
    )


def explain(error: Permanent, dataset: Dataset, day: date | None) -> Permanent:
    """What the database refused, in the dataset's words. Its detail shows values, so not where those are personal."""
    faults = error.faults if isinstance(error, BadInput) else [str(error)]
    if any(column.personal for column in dataset.columns):
        faults = [re.split("; (?:detail|context): ", fault)[0] for fault in faults]
    of = f" for {day}" if day else ""
    told = [f"dataset {dataset.name}{of}: {dataset.table} refused the rows: {fault}" for fault in faults]
    return BadInput(told) if isinstance(error, BadInput) else Permanent("\n".join(told))
