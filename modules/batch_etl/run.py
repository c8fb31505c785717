"""The path of a load: plan → read → cast → sort → load → record, one transaction for each day."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from contracts.batch_etl import BatchEtlReport, FileReport, RunBatchEtl
from contracts.dataset import Dataset
from contracts.errors import BadInput, Permanent, Transient
from contracts.job import Job, Progress
from contracts.ports import Db, FileInfo, Files, Log, Metrics
from contracts.ports.database import Tx
from contracts.table import table_named
from modules.batch_etl import record, table
from modules.batch_etl.ahead import Ahead
from modules.batch_etl.intake import Intake, Told, TooManyRejected
from modules.batch_etl.load import Target, explain
from modules.batch_etl.measures import ROWS
from modules.batch_etl.plan import Part, plan
from modules.batch_etl.publish import Publisher
from modules.batch_etl.record import Counts, LoadedFile
from modules.batch_etl.rising import OutOfOrder
from modules.batch_etl.rules import Rules
from modules.batch_etl.sorter import Sorter, sort
from modules.batch_etl.source import fingerprint
from modules.batch_etl.threads import in_thread

MAX_FILES_TOLD = 1000


class Checkpoint(msgspec.Struct, kw_only=True):
    """The days that are loaded, and what the report says of them so far."""

    done: list[str] = msgspec.field(default_factory=list)
    report: BatchEtlReport | None = None


def _import_polars() -> None:
    """It takes a fifth of a second, for which the event loop shall not stand still."""
    import polars  # noqa: F401
    import pyarrow  # noqa: F401


class _Undo(Exception):
    """Ends the transaction of a dry run."""


class Load:
    """One run of one command."""

    def __init__(
        self,
        cmd: RunBatchEtl,
        dataset: Dataset,
        *,
        job: Job,
        db: Db,
        files: Files,
        log: Log,
        metrics: Metrics,
        publisher: Publisher | None,
    ) -> None:
        self.cmd = cmd
        self.dataset = dataset
        self.job = job
        self.db = db
        self.files = files
        self.log = log.bind(dataset=dataset.name)
        self.metrics = metrics
        self.publisher = publisher
        self.declaration = record.declaration_of(dataset)
        self.total_bytes = 0
        self.bytes_before = 0
        self.rows_before = 0

    async def run(self) -> BatchEtlReport:
        """Every part that was not done before. What a killed run had committed is in the checkpoint."""
        saved = self.job.saved(Checkpoint) or Checkpoint()
        parts = await plan(self.dataset, self.cmd, self.files, self.db, done=frozenset(saved.done))
        self.total_bytes = sum(part.size_bytes for part in parts)
        report = saved.report or BatchEtlReport(
            dataset=self.dataset.name, table=self.dataset.table, dry_run=self.cmd.dry_run
        )
        for part in parts:
            if self.job.stopping:
                await self.job.checkpoint(saved)
            report = await self._part(part, saved, report)
        await record.prune(self.db)
        return report

    async def _part(self, part: Part, saved: Checkpoint, report: BatchEtlReport) -> BatchEtlReport:
        began = time.perf_counter()
        rules = Rules(self.dataset, day=part.day if self.dataset.partition_by else None)
        there = await table_named(self.db, self.dataset.table)
        if there is not None:
            await table.changes(self.db, self.dataset, rules, there)  # refuse before anything is read
        skipped, remaining = await self._unchanged(part, there.oid if there else 0)
        if not remaining:
            self._told(0, part.size_bytes, f"{part.name or self.dataset.name}: unchanged")
            self.log.info("unchanged", part=part.name, files=len(skipped))
            report = _with_skipped(report, skipped, seconds=time.perf_counter() - began)
            return await self._kept(saved, part, report)
        await in_thread(_import_polars)
        files = [info for info in part.files if info.path in remaining]
        load = partial(self._load, part, saved, report, rules, files, skipped, began)
        try:
            return await load(while_reading=there is None or await table.is_empty(self.db, self.dataset.table))
        except OutOfOrder:
            self.log.info("out of order", part=part.name, key=self.dataset.key)
            return await load(while_reading=False)

    async def _load(
        self,
        part: Part,
        saved: Checkpoint,
        report: BatchEtlReport,
        rules: Rules,
        files: Sequence[FileInfo],
        skipped: Sequence[LoadedFile],
        began: float,
        *,
        while_reading: bool,
    ) -> BatchEtlReport:
        """A first load reads within the transaction. Any other has read everything before it asks for the table."""
        intake = Intake(self.dataset, rules, max_rejected=self.cmd.max_rejected)
        sorter = Sorter(self.dataset.key, self.dataset.duplicates)
        counts = Counts()
        try:
            async with aclosing(Ahead(intake.frames(self.files, files, self._reading(part, saved)))) as frames:
                if not while_reading:
                    await sort(frames, sorter)
                    self._told(intake.read, intake.bytes, f"loading {sorter.rows:,} rows")
                async with self.db.transaction() as tx:
                    target = Target(tx, self.dataset, rules)
                    await target.lock()
                    oid = target.oid
                    await target.prepare()
                    await target.load(frames, sorter, counts, part.day)
                    counts.read, counts.rejected = intake.read, intake.rejects.count
                    counts.check()
                    await self._refuse_twice(tx, intake, oid)
                    published = await self._published(tx, target, saved, intake)
                    await record.quarantine(
                        tx, self.dataset, part.name, intake.files, intake.rejects, job_id=self.job.id
                    )
                    await record.save(
                        tx,
                        self.dataset,
                        part.name,
                        intake.files,
                        counts,
                        target_oid=target.oid,
                        job_id=self.job.id,
                        bytes_read=intake.bytes,
                        seconds=time.perf_counter() - began,
                    )
                    report = _with_loaded(report, counts, intake, seconds=time.perf_counter() - began)
                    report = _with_skipped(report, skipped)
                    report = msgspec.structs.replace(report, published=report.published + published)
                    if self.cmd.dry_run:
                        raise _Undo
                    report = await self._kept(saved, part, report, tx=tx)
        except _Undo:
            pass
        except TooManyRejected:
            raise await self._refused(part, intake) from None
        except Permanent as error:
            if error is intake.fault:
                raise
            raise explain(error, self.dataset, part.day) from None
        finally:
            sorter.close()
            intake.close()
        self.rows_before += intake.read
        self.bytes_before += part.size_bytes
        for outcome in ("loaded", "updated", "unchanged", "duplicate", "rejected"):
            self.metrics.add(ROWS, getattr(counts, outcome), dataset=self.dataset.name, outcome=outcome)
        self.log.info("loaded", part=part.name, dry_run=self.cmd.dry_run, **msgspec.structs.asdict(counts))
        return report

    async def _published(self, tx: Tx, target: Target, saved: Checkpoint, intake: Intake) -> int:
        """How many of the rows that the load has brought are events now, to be sent when it commits."""
        if self.publisher is None or self.cmd.dry_run:
            return 0
        count = 0
        async with aclosing(self.publisher.publish(tx, whole=target.straight)) as published:
            async for some in published:
                count += some
                self._told(intake.read, intake.bytes, f"publishing: {count:,} rows")
                if self.job.stopping:
                    await self.job.checkpoint(saved)  # ends the run, and undoes the part
        return count

    async def _refuse_twice(self, tx: Tx, intake: Intake, oid: int) -> None:
        """In mode append a load that ran beside us may have added the same content before we had the lock."""
        if self.dataset.mode != "append" or not oid:
            return
        contents = [file.content for file in intake.files]
        if len(set(contents)) < len(contents) or await record.loaded_contents(tx, self.dataset, contents, oid):
            raise Transient(f"dataset {self.dataset.name}: another load added the same content: try again, to skip it")

    async def _kept(
        self, saved: Checkpoint, part: Part, report: BatchEtlReport, *, tx: Tx | None = None
    ) -> BatchEtlReport:
        saved.done.append(part.name)
        saved.report = report
        if tx is not None:
            await self.job.checkpoint(saved, tx=tx)
        return report

    async def _unchanged(self, part: Part, oid: int) -> tuple[list[LoadedFile], set[str]]:
        """The files that need not be read, and the paths of those that must be. Mode append knows contents; the
        others know a day as a whole, because which row of a key wins depends on all of its files."""
        paths = {info.path for info in part.files}
        if self.cmd.force and self.dataset.mode != "append":
            return [], paths
        known = {file.path: file for file in await record.known(self.db, self.dataset, part.name)}
        if not oid or (await table.is_empty(self.db, self.dataset.table) and any(file.kept for file in known.values())):
            return [], paths  # dropped, or emptied by hand: loaded again, though the files have not changed
        same: list[LoadedFile] = []
        for info in part.files:
            before = known.get(info.path)
            file = LoadedFile(path=info.path, version=info.version, size_bytes=info.size_bytes)
            if before is not None and before.version == info.version and before.size_bytes == info.size_bytes:
                file.content = before.content
            elif self.dataset.mode == "append" or (before is not None and before.size_bytes == info.size_bytes):
                file.content = await fingerprint(self.files, info)
            same.append(file)
        if self.dataset.mode == "append":
            loaded = await record.loaded_contents(self.db, self.dataset, [file.content for file in same], oid)
            same = [file for file in same if file.content in loaded]
            return same, paths - {file.path for file in same}
        usual = all(before.declaration == self.declaration and before.target_oid == oid for before in known.values())
        contents = {path: before.content for path, before in known.items()}
        if not usual or {file.path: file.content for file in same} != contents:
            return [], paths
        for file in same:
            if known[file.path].version != file.version and not self.cmd.dry_run:
                await record.touch(self.db, self.dataset, part.name, file)
        return same, set()

    async def _refused(self, part: Part, intake: Intake) -> BadInput:
        """Nothing is loaded, but the rejected rows are kept, so that one can see why."""
        if not self.cmd.dry_run:
            async with self.db.transaction() as tx:
                await record.quarantine(tx, self.dataset, part.name, intake.files, intake.rejects, job_id=self.job.id)
        of = f" of {part.name}" if part.name else ""
        reasons = ", ".join(f"{reason} ({count})" for reason, count in intake.rejects.by_reason.most_common(5))
        return BadInput(
            f"dataset {self.dataset.name}{of}: more than {self.cmd.max_rejected} rows were rejected (max_rejected), so"
            f" nothing was loaded. Of {intake.read} rows: {reasons}."
            f" See `millrace quarantine list --dataset {self.dataset.name}`"
        )

    def _reading(self, part: Part, saved: Checkpoint) -> Told:
        async def told(rows: int, read_bytes: int) -> None:
            self._told(rows, read_bytes, f"reading {part.name}".rstrip())
            if self.job.stopping:
                await self.job.checkpoint(saved)  # ends the run: the part begins anew with the next one

        return told

    def _told(self, rows: int, read_bytes: int, message: str) -> None:
        self.job.progress(
            Progress(
                rows=self.rows_before + rows,
                bytes=self.bytes_before + read_bytes,
                total_bytes=self.total_bytes,
                message=message,
            )
        )


def _with_loaded(report: BatchEtlReport, counts: Counts, intake: Intake, *, seconds: float) -> BatchEtlReport:
    files = [
        FileReport(path=file.path, bytes=file.size_bytes, read=file.read, rejected=file.rejected)
        for file in intake.files
    ]
    reasons = Counter(report.rejected_by_reason) + intake.rejects.by_reason
    return msgspec.structs.replace(
        report,
        read=report.read + counts.read,
        loaded=report.loaded + counts.loaded,
        updated=report.updated + counts.updated,
        unchanged=report.unchanged + counts.unchanged,
        duplicate=report.duplicate + counts.duplicate,
        rejected=report.rejected + counts.rejected,
        removed=report.removed + counts.removed,
        bytes=report.bytes + intake.bytes,
        seconds=report.seconds + seconds,
        files=(*report.files, *files)[:MAX_FILES_TOLD],
        files_read=report.files_read + len(files),
        rejected_by_reason=dict(reasons.most_common()),
    )


def _with_skipped(report: BatchEtlReport, skipped: Sequence[LoadedFile], *, seconds: float = 0.0) -> BatchEtlReport:
    files = [FileReport(path=file.path, bytes=file.size_bytes, skipped=True) for file in skipped]
    return msgspec.structs.replace(
        report,
        seconds=report.seconds + seconds,
        files=(*report.files, *files)[:MAX_FILES_TOLD],
        files_skipped=report.files_skipped + len(files),
    )
