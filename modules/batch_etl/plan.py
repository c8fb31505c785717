"""Which days a command asks for, and which files make up each of them: decided before anything is read."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Container, Sequence
from datetime import date as Day
from datetime import timedelta

import msgspec

from contracts.batch_etl import RunBatchEtl
from contracts.dataset import LAKE, PLACEHOLDER, Dataset, source_faults
from contracts.errors import BadInput
from contracts.ports import Db, FileInfo, Files
from modules.batch_etl import lake

MAX_DAYS = 3700
_MAGIC = re.compile(r"[*?\[]")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded in one transaction. `day` is None where days make no difference."""

    day: Day | None
    files: tuple[FileInfo, ...]

    @property
    def name(self) -> str:
        return self.day.isoformat() if self.day else ""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


async def plan(
    dataset: Dataset, cmd: RunBatchEtl, files: Files, db: Db, *, done: Container[str] = frozenset()
) -> list[Part]:
    """The parts in order of day, but for those that are `done`, whose files may be gone; raises `BadInput` with
    every fault of the command and every file that is missing."""
    source = cmd.source or dataset.source
    parts, missing = [], []
    for day in days(dataset, cmd):
        if (day.isoformat() if day else "") in done:
            continue
        if source.startswith(LAKE):
            found = await lake.find(db, source.removeprefix(LAKE), day, dataset.format)
            if not found:
                missing.append(f"dataset {dataset.name}: the lake has no file{f' of {day}' if day else ''}: {source}")
            parts.append(Part(day=day, files=tuple(found)))
            continue
        pattern = filled(source, day)
        found = await find(files, pattern)
        if not found:
            what = "no file matches" if _MAGIC.search(pattern) else "there is no file"
            missing.append(f"dataset {dataset.name}: {what} {pattern!r} under {files.address}")
        parts.append(Part(day=day, files=tuple(found)))
    if missing:
        raise BadInput(missing)
    return parts


def days(dataset: Dataset, cmd: RunBatchEtl) -> Sequence[Day | None]:
    """The days to load; `(None,)` where neither the source nor a replaced partition depends on one."""
    source = cmd.source or dataset.source
    faults = [f"source: {why}" for _, why in source_faults(source, "source")]
    by_partition = dataset.mode == "replace" and dataset.partition_by is not None
    asked = [name for name in ("date", "from_date", "to_date") if getattr(cmd, name) is not None]
    of_lake = source.startswith(LAKE) and bool(asked)  # its files have dates, whether they are asked for or not
    by_source = of_lake or PLACEHOLDER.search(source) is not None
    if "date" in asked and len(asked) > 1:
        faults.append(f"give either date, or from_date and to_date; {' and '.join(asked)} came")
    elif asked in (["from_date"], ["to_date"]):
        faults.append(f"a range has two ends: {asked[0]} came alone")
    elif len(asked) == 2 and not by_source:
        faults.append(f"a range needs {{date}} in the source, or the same files are read for every day: {source!r}")
    elif not asked and (by_source or by_partition):
        why = f"its source is {source!r}" if by_source else f"it replaces the rows of one day of {dataset.partition_by}"
        faults.append(f"dataset {dataset.name} needs a date, or from_date and to_date: {why}")
    first = cmd.date or cmd.from_date
    last = cmd.date or cmd.to_date
    if first and last and len(asked) < 3:
        if last < first:
            faults.append(f"from_date, {first}, is after to_date, {last}")
        elif (last - first).days >= MAX_DAYS:
            faults.append(f"{first} to {last} are {(last - first).days + 1} days; at most {MAX_DAYS} go in one command")
        elif last > first and dataset.mode == "replace" and dataset.partition_by is None:
            faults.append(f"dataset {dataset.name} replaces the whole table: each day of a range would undo the last")
    if faults:
        raise BadInput(faults)
    if first is None or last is None or not (by_source or by_partition):
        return (None,)
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def filled(source: str, day: Day | None) -> str:
    """The source with its placeholders filled in. The values that are put in are never taken for wildcards."""

    def put(match: re.Match[str]) -> str:
        assert day is not None
        form = match.group(1).partition(":")[2]
        return day.strftime(form) if form else day.isoformat()

    return PLACEHOLDER.sub(put, source)


async def find(files: Files, pattern: str) -> list[FileInfo]:
    """The files of a path or glob, in order of path. `*` and `?` stay within a folder, `**` crosses folders."""
    if not _MAGIC.search(pattern):
        try:
            return [await files.stat(pattern)]
        except FileNotFoundError:
            return []
        except IsADirectoryError:
            raise BadInput(f"{pattern} is a directory: name a file, or use {pattern.rstrip('/')}/*") from None
    matches = _compiled(pattern)
    prefix = pattern[: _MAGIC.search(pattern).start()]  # type: ignore[union-attr]
    folder = prefix.rpartition("/")[0]
    return [
        info async for info in files.list(f"{folder}/" if folder else "") if matches.fullmatch(info.path) is not None
    ]


def _compiled(pattern: str) -> re.Pattern[str]:
    out = []
    for piece in re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", pattern):
        if piece == "**/":
            out.append("(?:[^/]+/)*")
        elif piece == "**":
            out.append(".*")
        elif piece == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            out.append(fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z"))
        else:
            out.append(re.escape(piece))
    return re.compile("".join(out))
