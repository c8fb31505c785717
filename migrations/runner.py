"""Applying and reverting the numbered migrations, once each, however many workers start at the same time."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from contracts.errors import Conflict, Permanent, Transient, Unavailable
from contracts.ports.database import Db, Tx
from contracts.ports.log import Log
from migrations import files
from migrations.files import NO_TRANSACTION, VERSIONS, Script, new

__all__ = ["Migration", "down", "new", "status", "up"]

LOCK_TIMEOUT_S = 60
LOCK_KEY = 0x6D696C6C72616365
"""The advisory lock: "millrace" in ASCII."""

MAKE_TABLE = """
create schema if not exists millrace;
create table if not exists millrace._migrations (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    millrace_version text not null
);
"""
APPLIED = "select number, name, checksum, applied_at, millrace_version from millrace._migrations order by number"
HAS_TABLE = "select to_regclass('millrace._migrations') is not null"
RECORD = """
insert into millrace._migrations (number, name, checksum, millrace_version) values ($1, $2, $3, $4)
returning applied_at
"""

State = Literal["applied", "pending", "changed", "unknown"]


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One number, in the files or in the database. `changed`: its file is not what was applied. `unknown`: it was
    applied by a version that this one doesn't know."""

    number: int
    name: str
    state: State
    applied_at: datetime | None = None
    millrace_version: str | None = None


async def status(db: Db, *, directory: Path = VERSIONS) -> list[Migration]:
    """Every number that the files or the database know, in order. One round trip."""
    return _compared(files.read(directory), await _applied(db))


async def up(db: Db, *, to: int | None = None, log: Log | None = None, directory: Path = VERSIONS) -> list[Migration]:
    """Apply what is pending, up to number `to`; returns what this call has applied.

    Each migration is a transaction of its own that also records it: one that fails leaves nothing, and those before
    it stay. Processes that do this at once take turns, each waiting at most `LOCK_TIMEOUT_S` (then `Unavailable`).
    With nothing pending it is one round trip and no lock. Raises `Conflict` when an applied file was changed, or when
    another checkout has applied a number that stands before a pending one. What a newer version has applied on top
    is fine (a worker restarts while the next version rolls out): `log` is warned.
    """
    scripts = files.read(directory)
    done = []
    while (script := _next(scripts, await _applied(db), to=to, log=log)) is not None:
        if (applied := await _apply(db, script)) is not None:
            done.append(applied)
    return done


async def down(db: Db, count: int, *, directory: Path = VERSIONS) -> list[Migration]:
    """Revert the last `count`, newest first, each in a transaction of its own; returns what was reverted.

    Raises `Conflict` for one whose way down is not in this checkout. When none is left, the record itself is gone.
    """
    scripts = {script.number: script for script in files.read(directory)}
    done = []
    for _ in range(count):
        async with _work(db).transaction() as tx:
            await _take_lock(tx)
            applied = await tx.fetch(APPLIED) if await tx.fetch_value(HAS_TABLE) else []
            if not applied:
                break
            done.append(await _revert(tx, applied, scripts))
    return done


async def _apply(db: Db, script: Script) -> Migration | None:
    """None: another process has done it meanwhile."""
    async with _work(db).transaction() as tx:
        await _take_lock(tx)
        await tx.execute(MAKE_TABLE)
        rows = await tx.fetch(APPLIED)
        if any(row["number"] == script.number for row in rows):
            return None
        try:
            if script.up.startswith(NO_TRANSACTION):
                # The lock's transaction must hold no snapshot, or the index would wait for it; a statement without
                # parameters closes the last one with any.
                await tx.execute("select")
                await db.execute(script.up)
            else:
                await tx.execute(script.up)
        except Permanent as error:
            raise Permanent(f"{script.file} failed and left nothing behind: {error}") from error
        by = _version()
        at = await tx.fetch_value(RECORD, script.number, script.name, script.checksum, by)
    return Migration(number=script.number, name=script.name, state="applied", applied_at=at, millrace_version=by)


async def _revert(tx: Tx, applied: Sequence[Mapping[str, Any]], scripts: Mapping[int, Script]) -> Migration:
    last = applied[-1]
    script = scripts.get(last["number"])
    if script is None or script.name != last["name"]:
        raise Conflict(
            f"{last['number']:04}_{last['name']} was applied by millrace {last['millrace_version']} and is not in this "
            "checkout: revert it with that version"
        )
    if len(applied) == 1:
        # Before the script, so that it can drop the whole schema.
        await tx.execute("drop table millrace._migrations")
    else:
        await tx.execute("delete from millrace._migrations where number = $1", script.number)
    try:
        await tx.execute(script.down)
    except Permanent as error:
        raise Permanent(f"{script.number:04}_{script.name}.down.sql failed and left nothing behind: {error}") from error
    return Migration(number=script.number, name=script.name, state="pending")


async def _applied(db: Db) -> list[Mapping[str, Any]]:
    try:
        return await db.fetch(APPLIED)
    except Permanent:
        # Before the first migration there is no table; asking for it first would cost every later start a round trip.
        # Another process may have made it between the two.
        return await db.fetch(APPLIED) if await db.fetch_value(HAS_TABLE) else []


def _compared(scripts: Sequence[Script], applied: Sequence[Mapping[str, Any]]) -> list[Migration]:
    known = {script.number: script for script in scripts}
    found = [
        Migration(
            number=row["number"],
            name=row["name"],
            state=_state(known.get(row["number"]), row),
            applied_at=row["applied_at"],
            millrace_version=row["millrace_version"],
        )
        for row in applied
    ]
    there = {migration.number for migration in found}
    pending = [
        Migration(number=script.number, name=script.name, state="pending")
        for script in scripts
        if script.number not in there
    ]
    return sorted([*found, *pending], key=lambda migration: migration.number)


def _state(script: Script | None, row: Mapping[str, Any]) -> State:
    if script is None:
        return "unknown"
    return "applied" if (script.name, script.checksum) == (row["name"], row["checksum"]) else "changed"


def _next(
    scripts: Sequence[Script], applied: Sequence[Mapping[str, Any]], *, to: int | None, log: Log | None
) -> Script | None:
    """The first one that is pending, after the whole was judged."""
    compared = _compared(scripts, applied)
    files_of = {script.number: script for script in scripts}
    for migration in compared:
        if migration.state == "changed":
            raise Conflict(
                f"{files_of[migration.number].file} is not what was applied as {migration.number:04}_{migration.name} "
                f"by millrace {migration.millrace_version}: bring the file back, and put the change in a new migration"
            )
    pending = [migration.number for migration in compared if migration.state == "pending"]
    unknown = [migration for migration in compared if migration.state == "unknown"]
    for stranger in unknown:
        if pending and stranger.number > pending[0]:
            raise Conflict(
                f"{stranger.number:04}_{stranger.name} was applied by another checkout before "
                f"{files_of[pending[0]].file}: bring the two lines of migrations together first"
            )
    if unknown and log is not None:
        names = [f"{stranger.number:04}_{stranger.name}" for stranger in unknown]
        log.warn("the database was migrated by a newer version", unknown=names)
    wanted = [number for number in pending if to is None or number <= to]
    return files_of[wanted[0]] if wanted else None


def _work(db: Db) -> Db:
    return db.scoped(name="millrace migrate", guard=None)


async def _take_lock(tx: Tx) -> None:
    try:
        await tx.fetch_value("select set_config('lock_timeout', $1, true)", f"{LOCK_TIMEOUT_S}s")
        await tx.fetch_value("select pg_advisory_xact_lock($1)", LOCK_KEY)
    except Unavailable:
        raise
    except Transient as error:
        raise Unavailable("database", f"another process has been migrating it for {LOCK_TIMEOUT_S} s") from error


def _version() -> str:
    try:
        return importlib.metadata.version("millrace")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
