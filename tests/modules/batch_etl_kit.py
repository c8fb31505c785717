"""What the tests of `batch_etl` run it with: real PostgreSQL, a real folder, a job that keeps its checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from adapters.files.local import LocalFiles
from adapters.metrics.memory import MemoryMetrics
from contracts.batch_etl import BatchEtlReport, RunBatchEtl
from contracts.dataset import Dataset
from contracts.job import Progress
from contracts.ports import Db, Feed, Tx
from modules.batch_etl.module import run
from tests.kit.catalog import DeclaredCatalog

T = TypeVar("T")


class TestJob:
    """A job whose checkpoints are rows, so that they commit and roll back with what they belong to."""

    __test__ = False

    def __init__(self, db: Db, job_id: str = "job-1") -> None:
        self.db = db
        self.id = job_id
        self.attempt = 1
        self.correlation_id = "test"
        self.stopping = False
        self.stop_at_bytes: int | None = None
        self.told: list[Progress] = []
        self._saved: bytes | None = None

    async def recall(self) -> None:
        """What the next run of the job starts with."""
        if await self.db.fetch_value("select to_regclass('public.test_checkpoints') is not null"):
            found = await self.db.fetch_value("select state from public.test_checkpoints where id = $1", self.id)
            self._saved = found.encode() if found else None

    def saved(self, type_: type[T]) -> T | None:
        return None if self._saved is None else msgspec.json.decode(self._saved, type=type_)

    async def checkpoint(self, state: Any, *, tx: Tx | None = None) -> None:
        at: Any = self.db if tx is None else tx
        await at.execute("create table if not exists public.test_checkpoints (id text primary key, state text)")
        await at.execute(
            "insert into public.test_checkpoints values ($1, $2) on conflict (id) do update set state = excluded.state",
            self.id,
            msgspec.json.encode(state).decode(),
        )
        if tx is None and self.stopping:
            raise asyncio.CancelledError

    def progress(self, progress: Progress) -> None:
        self.told.append(progress)
        if self.stop_at_bytes is not None and progress.bytes >= self.stop_at_bytes:
            self.stopping = True


class SilentLog:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def debug(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))

    def info(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))

    def warn(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))

    def error(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))

    def exception(self, message: str, /, **context: Any) -> None:
        self.lines.append((message, context))

    def bind(self, **context: Any) -> SilentLog:
        return self


class Etl:
    """The module with everything that it needs."""

    def __init__(self, db: Db, root: Path) -> None:
        self.db = db
        self.root = root
        self.files = LocalFiles(root)
        self.log = SilentLog()
        self.metrics = MemoryMetrics()

    def put(self, path: str, content: str | bytes) -> Path:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content.encode() if isinstance(content, str) else content)
        return full

    async def run(
        self,
        dataset: Dataset,
        *,
        job: TestJob | None = None,
        db: Db | None = None,
        date: date | None = None,
        from_date: date | None = None,
        to_date: date | None = None,
        source: str | None = None,
        dry_run: bool = False,
        force: bool = False,
        max_rejected: int | None = None,
    ) -> BatchEtlReport:
        cmd = RunBatchEtl(
            dataset=dataset.name,
            date=date,
            from_date=from_date,
            to_date=to_date,
            source=source,
            dry_run=dry_run,
            force=force,
            max_rejected=max_rejected,
        )
        used = db or self.db
        job = job or TestJob(used)
        await job.recall()
        job._saved = None if job.id == "job-1" else job._saved
        return await run(cmd, job, used, self.files, cast(Feed, None), DeclaredCatalog(dataset), self.log, self.metrics)

    async def rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in await self.db.fetch(sql, *args)]

    async def quarantine(self, dataset: Dataset) -> list[tuple[str, int, list[str], str]]:
        found = await self.db.fetch(
            "select file, line, reasons, raw from millrace.quarantine where dataset = $1 order by file, line",
            dataset.name,
        )
        return [
            (row["file"], row["line"], [f"{r['column']}: {r['message']}" for r in row["reasons"]], row["raw"])
            for row in found
        ]


def adds_up(report: BatchEtlReport) -> bool:
    return report.read == sum((report.loaded, report.updated, report.unchanged, report.duplicate, report.rejected))


def declared(columns: Iterable[dict[str, Any]], **settings: Any) -> Dataset:
    """A dataset as its YAML would be decoded."""
    plain = {"name": "orders", "table": "orders", "source": "orders.csv", "columns": list(columns), **settings}
    dataset = msgspec.convert(plain, Dataset)
    assert dataset.faults() == []
    return dataset
