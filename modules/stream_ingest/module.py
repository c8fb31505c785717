"""What the module declares: a route for each event that the catalog lands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from contracts.errors import Conflict, MillraceError
from contracts.event import Event, Land, struct_of
from contracts.module import Batch, Module
from contracts.ports import Catalog, Clock, Db, Emit, Files, Log, Metrics, State
from contracts.stream_ingest import CleanedLake, CleanLake, LakeFile, ListLake, RunStreamIngest
from modules.stream_ingest import manifest, orphans, shelf, table
from modules.stream_ingest.landing import Landing
from modules.stream_ingest.served import lakes, served

CLEAN_WITHIN_S = 10.0
"""A worker that starts has better to do than to go through a large lake: `millrace lake clean` has the time."""

module = Module(
    "stream_ingest",
    kind="service",
    summary="Land events in tables and lakes: checked, in batches, each exactly once.",
    arguments=RunStreamIngest,
)


@module.from_catalog
def declare(made: Module, catalog: Catalog, arguments: RunStreamIngest) -> None:
    """A route for each event, and what has to be there before its first batch."""
    events = served(catalog, arguments)
    if not events:
        made.on_startup(say_that_nothing_lands)
    for event in events:
        land = event.land or Land()
        made.stream(
            event.topic,
            struct_of(event),
            batch=Batch(rows=land.rows, wait_s=land.wait_s, bytes=land.bytes),
            timeout_s=120.0,
            partitions=event.partitions,
            retention_s=event.retention_days * 86400,
            dedupe_s=event.dedupe_s,
            raw=True,
            tick_s=_tick_s(event),
        )(_handler(event))
        made.on_startup(_preparation(event))


@module.on_startup
async def forget_expired(db: Db, log: Log) -> None:
    """Refused messages don't outlive their retention where nothing comes any more. A worker starts without it, too."""
    try:
        if forgotten := await shelf.forget(db):
            log.info("refused messages forgotten", rows=forgotten)
    except MillraceError as error:
        log.warn("refused messages whose time is over are still there", why=str(error))


async def say_that_nothing_lands(log: Log) -> None:
    """A worker without a route looks like one that works."""
    log.info("no event lands: say where in `land` of a catalog/events/NAME.yaml")


@module.tool("lake list", ListLake)
async def list_lake(cmd: ListLake, db: Db) -> list[LakeFile]:
    """The whole files of the lakes, the newest first."""
    return await manifest.listed(cmd, db)


@module.tool("lake clean", CleanLake)
async def clean_lake(cmd: CleanLake, catalog: Catalog, db: Db, files: Files, clock: Clock) -> list[CleanedLake]:
    """Remove what batches that came to nothing have left in the lakes."""
    return [
        await orphans.clean(name, lake, db, files, clock.now(), dry_run=cmd.dry_run)
        for name, lake in lakes(catalog, cmd.lake).items()
    ]


def _handler(event: Event) -> Callable[..., Awaitable[None]]:
    landing = Landing(event)

    async def land(
        batch: Sequence[bytes], state: State, db: Db, emit: Emit, files: Files, clock: Clock, metrics: Metrics
    ) -> None:
        await landing.land(batch, state, db, emit, files, clock, metrics)

    land.__doc__ = f"Land the events {event.name}."
    return land


def _preparation(event: Event) -> Callable[..., Awaitable[None]]:
    target = table.Target.of(event)
    lake = event.land.lake if event.land else None

    async def prepare(db: Db, files: Files, clock: Clock, log: Log) -> None:
        if target is not None and await table.prepare(db, target):
            log.info("table made", event=event.name, table=target.name)
        if lake is None:
            return
        try:
            async with clock.timeout(CLEAN_WITHIN_S):
                cleaned = await orphans.clean(event.name, lake, db, files, clock.now(), dry_run=False)
            if cleaned.files:
                log.info("orphans removed", lake=event.name, files=len(cleaned.files), bytes=cleaned.bytes)
        except (Conflict, TimeoutError) as error:
            log.info("orphans are left to `millrace lake clean`", lake=event.name, why=str(error) or "it takes long")

    return prepare


def _tick_s(event: Event) -> float | None:
    """A file is late by a tenth of its time, at the most, where nothing comes any more."""
    lake = event.land.lake if event.land else None
    return None if lake is None else min(60.0, max(1.0, lake.wait_s / 10))
