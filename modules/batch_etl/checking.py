"""`datasets check`: what a load would make of a sample of its files, and of its table; nothing is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import aclosing

from contracts.batch_etl import CheckDataset, CheckedDataset, RejectedRow, RunBatchEtl
from contracts.dataset import Dataset
from contracts.ports import Db, Files
from contracts.table import table_named
from modules.batch_etl import table
from modules.batch_etl.intake import Intake
from modules.batch_etl.plan import Part, plan
from modules.batch_etl.rules import Rules

EXAMPLES = 10


class _Enough(Exception):
    """The sample is large enough."""


async def check(cmd: CheckDataset, dataset: Dataset, db: Db, files: Files) -> CheckedDataset:
    """Raises `Faults` for a wrong declaration, `BadInput` for files or a table that don't fit it."""
    rules = Rules(dataset, day=cmd.date if dataset.partition_by else None)
    parts = await plan(dataset, RunBatchEtl(dataset=dataset.name, date=cmd.date, source=cmd.source), files, db)
    there = await table_named(db, dataset.table)
    changes = table.create(dataset, rules) if there is None else await table.changes(db, dataset, rules, there)
    intake = Intake(dataset, rules)
    try:
        await _sample(intake, parts[0], files, rows=cmd.rows)
        return CheckedDataset(
            dataset=dataset.name,
            table=dataset.table,
            files=len(parts[0].files),
            read=intake.read,
            rejected=intake.rejects.count,
            rejected_by_reason=dict(intake.rejects.by_reason.most_common()),
            examples=tuple(_examples(intake)),
            table_changes=tuple(changes),
        )
    finally:
        intake.close()


async def _sample(intake: Intake, part: Part, files: Files, *, rows: int) -> None:
    for info in part.files:
        enough = intake.read + rows

        async def told(read: int, _: int, enough: int = enough) -> None:
            if read >= enough:
                raise _Enough

        try:
            async with aclosing(intake.frames(files, [info], told)) as frames:
                async for _ in frames:
                    pass
        except _Enough:
            continue


def _examples(intake: Intake) -> Iterator[RejectedRow]:
    for row in itertools.islice(intake.rejects.rows(), EXAMPLES):
        yield RejectedRow(
            file=intake.files[row.file].path, line=row.line, reasons=tuple(str(reason) for reason in row.reasons)
        )
