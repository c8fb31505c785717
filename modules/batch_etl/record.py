"""What was loaded, from which files, and what was rejected: written in the transaction that loads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from contracts.dataset import Dataset
from contracts.ports.database import Queries, Tx
from modules.batch_etl.rejects import Rejects

_KNOWN = """
select f.path, f.content, f.version, f.size_bytes, l.declaration, l.target_oid::bigint as target_oid,
    l.read > l.rejected as kept
from millrace.dataset_files f join millrace.dataset_loads l on l.id = f.load_id
where f.dataset = $1 and f.part = $2
"""
_CONTENTS = """
select distinct f.content from millrace.dataset_files f join millrace.dataset_loads l on l.id = f.load_id
where f.dataset = $1 and f.content = any ($2::text[]) and l.target_oid = $3::oid
"""
_LOAD = """
insert into millrace.dataset_loads (dataset, part, target, target_oid, mode, declaration, job_id, read, loaded, updated,
    unchanged, duplicate, rejected, removed, bytes, seconds)
values ($1, $2, $3, $4::oid, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) returning id
"""
_FILE = """
insert into millrace.dataset_files (dataset, part, path, content, version, size_bytes, read, rejected, load_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (dataset, part, path, content) do update set version = excluded.version, size_bytes = excluded.size_bytes,
    read = excluded.read, rejected = excluded.rejected, load_id = excluded.load_id
"""
_QUARANTINE = (
    "dataset", "part", "file", "content", "line", "reasons", "raw", "raw_bytes", "escaped", "job_id", "rejected_at",
    "expires_at",
)  # fmt: skip
_PRUNE = """
delete from millrace.quarantine where id in (
    select id from millrace.quarantine where expires_at <= now() order by expires_at limit $1 for update skip locked)
"""
PRUNED_AT_ONCE = 10_000


class KnownFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file held when it was last loaded for this part, into which table, by which declaration."""

    path: str
    content: str
    version: str
    size_bytes: int
    declaration: str
    target_oid: int
    kept: bool
    """Its load put rows into the table."""


class Counts(msgspec.Struct, kw_only=True):
    """What became of the rows of a part. They add up, or `check` raises."""

    read: int = 0
    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    rejected: int = 0
    removed: int = 0

    def check(self) -> None:
        """A row that is unaccounted for is a defect of ours: fail before anything is committed."""
        accounted = self.loaded + self.updated + self.unchanged + self.duplicate + self.rejected
        if self.read != accounted:
            raise AssertionError(f"{self.read} rows were read, {accounted} are accounted for: {self}")


class LoadedFile(msgspec.Struct, kw_only=True):
    """A file as it was read for this load."""

    path: str
    version: str
    size_bytes: int
    content: str = ""
    read: int = 0
    rejected: int = 0


def declaration_of(dataset: Dataset) -> str:
    """A fingerprint of all that decides what a file's rows become."""
    plain = msgspec.structs.replace(
        dataset,
        description="",
        quarantine_days=30,
        columns=tuple(msgspec.structs.replace(column, description="") for column in dataset.columns),
    )
    return hashlib.blake2b(msgspec.json.encode(plain), digest_size=16).hexdigest()


async def known(db: Queries, dataset: Dataset, part: str) -> list[KnownFile]:
    """The files of the last load of a part."""
    return [KnownFile(**row) for row in await db.fetch(_KNOWN, dataset.name, part)]


async def loaded_contents(db: Queries, dataset: Dataset, contents: Sequence[str], target_oid: int) -> set[str]:
    """Those of the contents that are in the table already, whatever their files were called."""
    return {row["content"] for row in await db.fetch(_CONTENTS, dataset.name, list(contents), target_oid)}


async def touch(db: Queries, dataset: Dataset, part: str, file: LoadedFile) -> None:
    """The file has another version and the same content: next time its version is enough."""
    await db.execute(
        "update millrace.dataset_files set version = $5, size_bytes = $6"
        " where dataset = $1 and part = $2 and path = $3 and content = $4",
        dataset.name,
        part,
        file.path,
        file.content,
        file.version,
        file.size_bytes,
    )


async def save(
    tx: Tx,
    dataset: Dataset,
    part: str,
    files: Sequence[LoadedFile],
    counts: Counts,
    *,
    target_oid: int,
    job_id: str,
    bytes_read: int,
    seconds: float,
) -> None:
    """The load and its files. The files of the part's last load are forgotten, unless loads add up (append)."""
    load_id = await tx.fetch_value(
        _LOAD,
        dataset.name,
        part,
        dataset.table,
        target_oid,
        dataset.mode,
        declaration_of(dataset),
        job_id,
        counts.read,
        counts.loaded,
        counts.updated,
        counts.unchanged,
        counts.duplicate,
        counts.rejected,
        counts.removed,
        bytes_read,
        seconds,
    )
    if dataset.mode != "append":
        await tx.execute("delete from millrace.dataset_files where dataset = $1 and part = $2", dataset.name, part)
    await tx.execute_many(
        _FILE,
        [
            (
                dataset.name,
                part,
                file.path,
                file.content,
                file.version,
                file.size_bytes,
                file.read,
                file.rejected,
                load_id,
            )
            for file in files
        ],
    )


async def quarantine(
    tx: Tx, dataset: Dataset, part: str, files: Sequence[LoadedFile], rejects: Rejects, *, job_id: str
) -> None:
    """The rejected rows of these files, instead of those that were kept of them before."""
    await tx.execute(
        "delete from millrace.quarantine where dataset = $1 and part = $2 and file = any ($3::text[])",
        dataset.name,
        part,
        [file.path for file in files],
    )
    if not rejects.kept:
        return
    instants = await tx.fetch_one(
        "select now() as at, now() + make_interval(days => $1) as until", dataset.quarantine_days
    )
    assert instants is not None

    def rows() -> Iterator[tuple[Any, ...]]:
        for row in rejects.rows():
            file = files[row.file]
            reasons = msgspec.Raw(msgspec.json.encode(row.reasons))
            yield (
                dataset.name, part, file.path, file.content, row.line, reasons, row.raw, row.raw_bytes, row.escaped,
                job_id, instants["at"], instants["until"],
            )  # fmt: skip

    await tx.bulk_insert("millrace.quarantine", rows(), columns=_QUARANTINE)


async def prune(db: Queries) -> int:
    """Forget rejected rows whose time is over; returns how many."""
    forgotten = 0
    while (some := await db.execute(_PRUNE, PRUNED_AT_ONCE)) == PRUNED_AT_ONCE:
        forgotten += some
    return forgotten + some
