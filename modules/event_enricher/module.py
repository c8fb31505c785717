"""What the module declares: for each enrichment of the catalog a route for its events, and one for those that wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from contracts.enrichment import Enrichment, Lookup, RunEventEnricher
from contracts.errors import Gathered, MillraceError
from contracts.event import Event, struct_of
from contracts.module import Batch, Module
from contracts.ports import Cache, Catalog, Db, Emit, Log, Metrics
from modules.event_enricher.enriching import Enricher, Rekeyer, retry_address

BATCH = Batch(rows=1000, wait_s=0.05)

module = Module(
    "event_enricher",
    kind="worker",
    summary="Join events with reference data, or send them under another key.",
    arguments=RunEventEnricher,
)


@module.from_catalog
def declare(module: Module, catalog: Catalog, arguments: RunEventEnricher) -> None:
    """Each reads its topic as a group of its own, so that several can take events of one kind."""
    gathered = Gathered("enrichments")
    for name in arguments.enrichment or catalog.enrichments():
        with gathered.one():
            enrichment = catalog.enrichment(name)
            _declare(module, enrichment, catalog.event(enrichment.event))
    gathered.tell()


def _declare(module: Module, enrichment: Enrichment, event: Event) -> None:
    if enrichment.lookup is None:
        _declare_rekeying(module, enrichment, event)
    else:
        _declare_lookup(module, enrichment, enrichment.lookup, event)


def _declare_rekeying(module: Module, enrichment: Enrichment, event: Event) -> None:
    rekeyer = Rekeyer(enrichment, event)

    async def rekey(events: Sequence[Any], emit: Emit, metrics: Metrics) -> None:
        """Send events under another key."""
        await rekeyer.rekey(events, emit=emit, metrics=metrics)

    _route(module, event.topic, struct_of(event), rekey, enrichment, event)


def _declare_lookup(module: Module, enrichment: Enrichment, lookup: Lookup, event: Event) -> None:
    enricher = Enricher(enrichment, lookup, event)

    async def enrich(events: Sequence[Any], db: Db, cache: Cache, emit: Emit, metrics: Metrics) -> None:
        """Send events on with what they refer to."""
        await enricher.enrich(events, db=db, cache=cache, emit=emit, metrics=metrics)

    async def retry(waiting: Sequence[Any], db: Db, cache: Cache, emit: Emit, metrics: Metrics) -> None:
        """Try again what found nothing."""
        events, attempts = [one.event for one in waiting], [one.attempt for one in waiting]
        await enricher.enrich(events, db=db, cache=cache, emit=emit, metrics=metrics, attempts=attempts)

    async def ask(db: Db, log: Log) -> None:
        """Events wait for a table that can't be asked; who starts the worker should hear of it before they come."""
        try:
            await enricher.references.check(db)
        except MillraceError as error:
            log.warn("events will wait for their reference data", enrichment=enrichment.name, why=str(error))

    _route(module, event.topic, struct_of(event), enrich, enrichment, event)
    if enrichment.missing == "retry":
        _route(module, retry_address(enrichment), enricher.waiting, retry, enrichment, event)
    module.on_startup(ask)


def _route(
    module: Module,
    address: str,
    contract: type[msgspec.Struct],
    handler: Callable[..., Any],
    enrichment: Enrichment,
    event: Event,
) -> None:
    # What the handler takes is known only now: the runtime compares it with the contract.
    first = next(iter(handler.__annotations__))
    handler.__annotations__[first] = Sequence[contract]  # type: ignore[valid-type]
    module.stream(
        address,
        contract,
        batch=BATCH,
        group=f"{module.name}.{enrichment.name}",
        partitions=event.partitions,
        retention_s=event.retention_days * 86400.0,
        dedupe_s=event.dedupe_s,
    )(handler)
