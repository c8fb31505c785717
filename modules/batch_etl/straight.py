"""The first load: rows go into the table while the files are still read, and then its key is built in one go.

Only rows whose key is certainly new go there at once (`rising`). The few others wait, sorted and each key once, until
the key is there. Then they meet the rows of their keys in the table, and the one that the dataset's `duplicates` wants
stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from contracts import sql
from contracts.dataset import Dataset
from modules.batch_etl import table
from modules.batch_etl.record import Counts
from modules.batch_etl.rising import Rising
from modules.batch_etl.sorter import Sorter, sort

if TYPE_CHECKING:
    import polars as pl

    from modules.batch_etl.load import Target

STAGE = "batch_etl_stage"


async def load(target: Target, frames: AsyncIterator[pl.DataFrame], sorter: Sorter, counts: Counts) -> None:
    """Into a table that was made in this transaction, or is empty and locked: it takes rows frozen. May raise
    `OutOfOrder`."""
    assert target.table is not None
    key = target.dataset.key
    build_key = await _without_key(target)
    if key and not target.made and not target.table.has_only(key):
        await sort(frames, sorter)  # a row that loses to a later one must not get there, even for a moment
    rising = Rising(key, sorter)
    counts.loaded = await target.copy(rising.pass_on(frames), target.dataset.table, freeze=True)
    all_wait, some_wait = not counts.loaded, counts.loaded and sorter.rows
    if all_wait:
        counts.loaded = await target.copy_sorted(sorter, freeze=True)
    if build_key is not None:
        await target.tx.execute(build_key)
    if some_wait:
        await _settle(target, sorter, counts)


async def _without_key(target: Target) -> str | None:
    """What builds the key of the table, which has none now."""
    dataset, there = target.dataset, target.table
    if target.made:
        return table.add_key(dataset) if dataset.key else None
    assert there is not None
    await target.tx.execute(f"truncate table {target.name}")
    key = there.unique_on(dataset.key)
    if key is None or key.constraint_name is None:
        return None
    constraint = sql.name(key.constraint_name)
    await target.tx.execute(f"alter table {target.name} drop constraint {constraint}")
    return f"alter table {target.name} add constraint {constraint} {key.definition}"


async def _settle(target: Target, sorter: Sorter, counts: Counts) -> None:
    """Each key of the rows that waited is there at most once among them and at most once, earlier, in the table."""
    dataset = target.dataset
    waited = await target.stage(sorter)
    same_key = " and ".join(f"t.{sql.name(name)} = s.{sql.name(name)}" for name in dataset.key)
    beaten = await target.tx.execute(
        f"delete from {target.name} t using {STAGE} s where {same_key} and {_later_wins(dataset)}"  # noqa: S608
    )
    columns = [column.name for column in dataset.columns]
    added = await target.tx.execute(
        f"insert into {target.name} ({sql.names(columns)}) select {sql.names(columns)} from {STAGE} s"  # noqa: S608
        f" order by {sql.names(dataset.key)} on conflict ({sql.names(dataset.key)}) do nothing"
    )
    counts.loaded += added - beaten
    counts.duplicate += waited - added + beaten


def _later_wins(dataset: Dataset) -> str:
    """Whether the later row, `s`, wins over the earlier one, `t`. Texts are compared as the sorter compares them."""
    match dataset.duplicates.keep:
        case "first":
            return "false"
        case "last":
            return "true"
        case keep:
            by = sql.name(dataset.duplicates.by or "")
            exact = ' collate "C"' if dataset.column(dataset.duplicates.by or "").type == "text" else ""
            return f"(t.{by} is null or s.{by}{exact} {'>=' if keep == 'highest' else '<='} t.{by}{exact})"
