"""What the module declares: for each aggregation of the catalog a route of its own for the events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from contracts.aggregation import Aggregation
from contracts.errors import Faults, Gathered
from contracts.event import Event, struct_of
from contracts.metric_aggregator import RunMetricAggregator
from contracts.module import Batch, Module
from contracts.ports import Catalog, Clock, Db, Emit, Log, Metrics, State
from modules.metric_aggregator.aggregating import Aggregator
from modules.metric_aggregator.table import ResultTable

BATCH = Batch(rows=5000, wait_s=0.2)

module = Module(
    "metric_aggregator",
    kind="worker",
    summary="Count, sum and measure events in windows of their own time, late ones included.",
    arguments=RunMetricAggregator,
)


@module.from_catalog
def declare(made: Module, catalog: Catalog, arguments: RunMetricAggregator) -> None:
    """Each reads its topic as a group of its own, so that there can be many over the events of one kind."""
    gathered = Gathered("aggregations")
    tables: list[ResultTable] = []
    for name in arguments.aggregation or catalog.aggregations():
        with gathered.one():
            aggregation = catalog.aggregation(name)
            aggregator = _declare(made, aggregation, catalog.event(aggregation.event), arguments)
            if aggregator.table is not None:
                gathered.faults += _taken(aggregator.table, tables)
                tables.append(aggregator.table)
    gathered.tell()
    if tables:
        made.on_startup(_preparation(tables))


def _taken(table: ResultTable, others: Sequence[ResultTable]) -> list[str]:
    """Rows are told apart by key and start: those of two aggregations would overwrite each other."""
    return [
        f"aggregation {table.aggregation}: table {table.name} has the results of {other.aggregation}: name another one"
        for other in others
        if other.name == table.name
    ]


def _declare(made: Module, aggregation: Aggregation, event: Event, arguments: RunMetricAggregator) -> Aggregator:
    aggregator = Aggregator(aggregation, event)
    made.stream(
        event.topic,
        struct_of(event),
        batch=BATCH,
        group=f"{made.name}.{aggregation.name}",
        timeout_s=120.0,
        partitions=event.partitions,
        retention_s=event.retention_days * 86400,
        dedupe_s=event.dedupe_s,
        tick_s=_tick_s(aggregation),
        expired=arguments.reset,
    )(_handler(aggregation, event, aggregator))
    return aggregator


def _handler(aggregation: Aggregation, event: Event, aggregator: Aggregator) -> Callable[..., Awaitable[None]]:
    async def aggregate(batch: Sequence[Any], state: State, db: Db, emit: Emit, clock: Clock, metrics: Metrics) -> None:
        await aggregator.take(batch, state, db, emit, clock, metrics)

    aggregate.__doc__ = f"Keep the windows of {aggregation.name} up to date."
    # What the handler takes is known only now: the runtime compares it with the contract.
    aggregate.__annotations__["batch"] = Sequence[struct_of(event)]  # type: ignore[misc]
    return aggregate


def _preparation(tables: Sequence[ResultTable]) -> Callable[..., Awaitable[None]]:
    """One hook for all tables, so that the faults of all are told at once."""

    async def prepare(db: Db, log: Log) -> None:
        faults: list[str] = []
        for table in tables:
            try:
                if await table.prepare(db):
                    log.info("table made", aggregation=table.aggregation, table=table.name)
            except Faults as error:
                faults += [f"{error.subject}: {fault}" for fault in error.faults]
        if faults:
            raise Faults("tables of results", faults)

    return prepare


def _tick_s(aggregation: Aggregation) -> float | None:
    """Windows of a quiet partition close as soon as that."""
    return None if aggregation.idle_s is None else min(1.0, aggregation.idle_s)
