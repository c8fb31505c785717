"""A worker of `stream_ingest` that kills itself at a step: `python -m tests.kit.doomed_ingest --die-at written …`.

It is the worker that ships, with its files and its bus wrapped, and its handler told where it is. The table has no key,
so that an event that lands twice is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import signal
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from contracts.dataset import Column
from contracts.event import Event, EventTime, Lake, Land
from contracts.module import Module
from contracts.ports import Bus, Files
from contracts.ports.ledger import Ledger
from modules import stream_ingest
from runtime import process
from runtime.wiring import Adapters
from runtime.worker import Worker
from tests.kit.catalog import DeclaredCatalog
from tests.kit.faults import Faults, Kill
from tests.kit.stream_worker import chosen
from tests.kit.waiting import until

POINTS = {
    "taken": "batch",
    "written": "files.write",
    "landed": "landed",
    "announced": "ledger.outbox.add",
    "committed": "assignment.commit",
}
"""Where it can die, and the step that this is: before a batch, when a file is there that nobody lists yet, when all is
ready for the commit, when what its successor emits as well is in its transaction, and when all is committed that the
bus doesn't know of."""

PARTITIONS = 2
faults = Faults()


def event(topic: str) -> Event:
    """Small batches, and files of a few of them."""
    return Event(
        name="thing",
        topic=topic,
        partitions=PARTITIONS,
        columns=(
            Column(name="id", type="int", nullable=False),
            Column(name="at", type="timestamp", nullable=False),
        ),
        time=EventTime(column="at"),
        land=Land(table="things", lake=Lake(path="lake", rows=60, wait_s=0.5), rows=25, wait_s=0.2, announce="batches"),
    )


class DoomedAdapters(Adapters):
    """The adapters that ship, with every step of the files, of the outbox and of the bus armed."""

    @cached_property
    def files(self) -> Files:
        return faults.around(super().files, "files")

    @cached_property
    def ledger(self) -> Ledger:
        return faults.around(super().ledger, "ledger", parts=("outbox",))

    @cached_property
    def bus(self) -> Bus:
        return faults.around(super().bus)


def module(topic: str) -> Module:
    """The module, with a step before and behind its handler."""
    made = stream_ingest.module.configured(DeclaredCatalog(event(topic)))
    made.routes = [msgspec.structs.replace(route, handler=_told(route.handler)) for route in made.routes]
    return made


def _told(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def told(batch: Any, *args: Any, **kwargs: Any) -> None:
        await faults.reach("batch")
        await handler(batch, *args, **kwargs)
        await faults.reach("landed")

    return told


async def main(given: argparse.Namespace) -> int:
    """Work until SIGTERM, or until so many rows are in the table and in files, and so many messages in quarantine."""
    if given.die_at:
        after = given.die_at in ("written", "announced")
        faults.at(POINTS[given.die_at], Kill(signal=signal.Signals[given.signal]), nth=given.nth, after=after)
    settings = chosen(given.url, Path(given.directory), mq=given.mq, server=given.server)
    worker = Worker(settings, [module(given.topic)], adapters=DoomedAdapters(settings))
    process.listen_for_signals(worker)
    await worker.start()
    print("started", flush=True)

    async def enough() -> bool:
        if worker.supervisor.stopping.is_set():
            return True
        done = await worker.adapters.db.fetch_one(
            "select (select count(*) from things) as landed, (select count(*) from millrace.quarantine) as refused,"
            " (select coalesce(sum(rows), 0) from millrace.lake_files) as in_files"
        )
        assert done is not None
        return bool(min(done["landed"], done["in_files"]) >= given.rows and done["refused"] >= given.refused)

    await until(enough, timeout_s=60, what="the landing of everything")
    return process.exit_code(worker, await worker.stop())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the database")
    parser.add_argument("--mq", choices=("kafka", "redis-stream"), required=True)
    parser.add_argument("--server", required=True, help="the bus")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--rows", type=int, required=True, help="end when so many rows have landed")
    parser.add_argument("--refused", type=int, default=0, help="and so many messages were refused")
    parser.add_argument("--die-at", choices=POINTS, default="")
    parser.add_argument("--signal", choices=("SIGKILL", "SIGSTOP"), default="SIGKILL")
    parser.add_argument("--nth", type=int, default=2, help="at the how manieth time")
    raise SystemExit(asyncio.run(main(parser.parse_args())))
