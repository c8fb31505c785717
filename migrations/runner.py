"""Applying and reverting the numbered migrations, once each, however many workers start at the same time.

While workers of two versions work side by side, the database has what the newer one needs, and still all that the
older one does: what would take that away (`after`) is refused until nobody alive needs it.
"""

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
from migrations.files import NO_TRANSACTION, VERSIONS, Phase, Script, new, newest

__all__ = ["Migration", "down", "new", "newest", "status", "unfit", "up"]

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
    millrace_version text not null,
    phase text not null default 'before'
);
"""
HAS_PHASE = """
select exists (
    select from pg_attribute where attrelid = 'millrace._migrations'::regclass and attname = 'phase' and attnum > 0
)
"""
ADD_PHASE = "alter table millrace._migrations add column phase text not null default 'before'"
# Where an older version has made the table, it has no phase before this one applies something.
APPLIED = """
select number, name, checksum, applied_at, millrace_version, coalesce(to_jsonb(m) ->> 'phase', 'before') as phase
from millrace._migrations m
order by number
"""
HAS_TABLE = "select to_regclass('millrace._migrations') is not null"
HAS_WORKERS = "select to_regclass('millrace.workers') is not null"
# One that does not say what it knows is of a version from before workers said so.
OLDER = """
select host, pid, coalesce(nullif(to_jsonb(w) ->> 'version', ''), 'unknown') as version
from millrace.workers w
where lease_until > clock_timestamp() and coalesce((to_jsonb(w) ->> 'schema')::integer, 0) < $1
order by started_at, id
"""
RECORD = """
insert into millrace._migrations (number, name, checksum, millrace_version, phase) values ($1, $2, $3, $4, $5)
returning applied_at
"""
SHOWN = 5
"""Of the workers in the way, so many are named."""

State = Literal["applied", "pending", "changed", "unknown"]


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One number, in the files or in the database. `changed`: its file is not what was applied. `unknown`: it was
    applied by a version that this one doesn't know."""

    number: int
    name: str
    phase: Phase
    state: State
    applied_at: datetime | None = None
    millrace_version: str | None = None


async def status(db: Db, *, directory: Path = VERSIONS) -> list[Migration]:
    """Every number that the files or the database know, in order. One round trip."""
    return _compared(files.read(directory), await _applied(db))


def unfit(found: Sequence[Migration]) -> list[str]:
    """Why this checkout's workers can't work on a database of which `status` says this: what they need is not there
    yet, or what they need is gone."""
    missing = [one.name for one in found if one.state == "pending" and one.phase == "before"]
    gone = [one for one in found if one.state == "unknown" and one.phase == "after"]
    faults = []
    if missing:
        faults.append(f"migrations are pending: {', '.join(missing)}; run `millrace migrate up`")
    if gone:
        faults.append(
            f"{', '.join(one.name for one in gone)} (applied by millrace {gone[-1].millrace_version}) took away what "
            "this version needs: start a version that knows it, or revert it with that version"
        )
    return faults


async def up(
    db: Db,
    *,
    to: int | None = None,
    phase: Phase | None = None,
    force: bool = False,
    log: Log | None = None,
    directory: Path = VERSIONS,
) -> list[Migration]:
    """Apply what is pending, up to number `to`, of one `phase` or of both; returns what this call has applied.

    They are applied in the order of their numbers. An `after` waits while a living worker doesn't know it, unless it is
    forced: `log` is warned, and where it was asked for, or holds up a `before`, `Conflict` says so.

    Each migration is a transaction of its own that also records it: one that fails leaves nothing, and those before
    it stay. Processes that do this at once take turns, each waiting at most `LOCK_TIMEOUT_S` (then `Unavailable`).
    With nothing pending it is one round trip and no lock. Raises `Conflict` when an applied file was changed, or when
    another checkout has applied a number that stands before a pending one. What a newer version has applied on top
    is fine (a worker restarts while the next version rolls out): `log` is warned.
    """
    scripts = files.read(directory)
    done = []
    while (script := _next(scripts, await _applied(db), to=to, phase=phase, log=log)) is not None:
        try:
            applied = await _apply(db, script, force=force)
        except _Waits as waits:
            behind = [
                one for one in scripts[script.number :] if one.phase == "before" and (to is None or one.number <= to)
            ]
            if phase == "after" or behind:
                raise
            if log is not None:
                log.warn(str(waits))
            break
        if applied is not None:
            done.append(applied)
    return done


class _Waits(Conflict):
    """An `after` that workers which don't know it keep from being applied."""


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


async def _apply(db: Db, script: Script, *, force: bool) -> Migration | None:
    """None: another process has done it meanwhile."""
    async with _work(db).transaction() as tx:
        await _take_lock(tx)
        await tx.execute(MAKE_TABLE)
        if not await tx.fetch_value(HAS_PHASE):
            await tx.execute(ADD_PHASE)
        rows = await tx.fetch(APPLIED)
        if any(row["number"] == script.number for row in rows):
            return None
        if script.phase == "after" and not force:
            await _refuse_for_older(tx, script)
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
        at = await tx.fetch_value(RECORD, script.number, script.name, script.checksum, by, script.phase)
    return _migration(script, "applied", applied_at=at, millrace_version=by)


async def _refuse_for_older(tx: Tx, script: Script) -> None:
    older = await tx.fetch(OLDER, script.number) if await tx.fetch_value(HAS_WORKERS) else []
    if not older:
        return
    names = [f"{row['host']}/{row['pid']} (version {row['version']})" for row in older[:SHOWN]]
    more = f" and {len(older) - SHOWN} more" if len(older) > SHOWN else ""
    raise _Waits(
        f"{script.file} waits, for workers that don't know it live: {', '.join(names)}{more}; "
        "end them (`millrace workers` lists them), then run `millrace migrate up --phase after`, or force it"
    )


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
    return _migration(script, "pending")


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
            phase=row["phase"],
            state=_state(known.get(row["number"]), row),
            applied_at=row["applied_at"],
            millrace_version=row["millrace_version"],
        )
        for row in applied
    ]
    there = {migration.number for migration in found}
    pending = [_migration(script, "pending") for script in scripts if script.number not in there]
    return sorted([*found, *pending], key=lambda migration: migration.number)


def _state(script: Script | None, row: Mapping[str, Any]) -> State:
    if script is None:
        return "unknown"
    return "applied" if (script.name, script.checksum) == (row["name"], row["checksum"]) else "changed"


def _next(
    scripts: Sequence[Script],
    applied: Sequence[Mapping[str, Any]],
    *,
    to: int | None,
    phase: Phase | None,
    log: Log | None,
) -> Script | None:
    """The first one that is pending and wanted, after the whole was judged."""
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
    wanted = [files_of[n] for n in pending if (to is None or n <= to) and phase in (None, files_of[n].phase)]
    if not wanted:
        return None
    if wanted[0].number > pending[0]:
        ahead = files_of[pending[0]]
        raise Conflict(
            f"{wanted[0].file} comes behind {ahead.file}, which is pending: finish that upgrade first, with "
            f"`millrace migrate up --phase {ahead.phase}`"
        )
    return wanted[0]


def _migration(
    script: Script, state: State, *, applied_at: datetime | None = None, millrace_version: str | None = None
) -> Migration:
    return Migration(
        number=script.number,
        name=script.name,
        phase=script.phase,
        state=state,
        applied_at=applied_at,
        millrace_version=millrace_version,
    )


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
