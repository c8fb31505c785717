"""A worker of small messages in memory: `python -m benchmarks.millrace_traces URL BLOCK KIND TRACES ENDPOINT`.

`KIND` is `plain` (a handler that does nothing) or `sql` (one statement in the message's transaction). Messages come in
blocks of `BLOCK`. With `TRACES` off (`noop`) blocks alternate between the code as it ships and code that does not even
ask whether there are traces: in one process, since two differ by more than what is looked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from adapters.database.connection import Connection
from benchmarks.small_message import Small
from contracts import outcome
from contracts.message import Envelope
from contracts.metrics import DB_QUERY_DURATION
from contracts.module import Module
from contracts.ports import Db
from runtime import pipeline, process, settings
from runtime.worker import Worker

KEYS = 1000
FORMS = ("absent", "off", "again")
WARM_UP, CYCLES = 5, 60


class Code:
    """The functions that ask, exchanged in place: whoever imported them has the other ones, too."""

    def __init__(self) -> None:
        asking = {pipeline.carry: pipeline.carry.__code__, Connection._timed: Connection._timed.__code__}
        without = {pipeline.carry: _carry.__code__, Connection._timed: _timed.__code__}
        self._forms = {"off": asking, "absent": without, "again": without}

    def take(self, form: str) -> None:
        for function, code in self._forms[form].items():
            function.__code__ = code


async def _carry(work: Any) -> outcome.Outcome:
    with work.about():
        return await _carried(work)  # type: ignore[name-defined,no-any-return]  # noqa: F821 - in the pipeline


async def _timed(self: Any, operation: str, sql: str, call: Awaitable[Any]) -> Any:  # noqa: ARG001 - as the original
    if self._metrics is None:
        return await call
    started = time.perf_counter()
    try:
        return await call
    finally:
        self._metrics.observe(DB_QUERY_DURATION, (time.perf_counter() - started) * 1000, operation=operation)


def _module(kind: str, blocks: Blocks) -> Module:
    module = Module("bench", kind="service", summary="Handles what is measured.")
    if kind == "plain":

        @module.stream(blocks.topic, Small)
        async def handle(_: Small) -> None:
            blocks.handled()

    else:

        @module.stream(blocks.topic, Small)
        async def keep(message: Small, db: Db) -> None:
            await db.execute("insert into bench_kept values ($1)", message.number)
            blocks.handled()

    return module


async def main(url: str, block: int, kind: str, traces: str, endpoint: str) -> None:
    """The processor's time for one message, in microseconds: the median of all blocks, and of what lies between those
    that follow each other."""
    blocks = Blocks(block)
    with TemporaryDirectory() as directory:
        environ = {
            "DB_POSTGRES_URL": url,
            "MILLRACE_LOG": "json",
            "LOG_LEVEL": "warn",
            "MILLRACE_TRACES": traces,
            "TRACES_OTLP_ENDPOINT": endpoint,
        }
        chosen = settings.load(overrides={}, environ=environ, directory=Path(directory))
        worker = Worker(chosen, [_module(kind, blocks)])
        await worker.start()
        await worker.adapters.db.execute("create unlogged table if not exists bench_kept (number int)")
        process.collect_less_often()  # as in every process of a worker
        figures = await (_on(worker, blocks) if traces == "otlp" else _off(worker, blocks))
        await worker.stop()
    print(json.dumps(figures))


async def _on(worker: Worker, blocks: Blocks) -> dict[str, float]:
    taken = [await blocks.one(worker) for _ in range(WARM_UP + CYCLES)]
    return {"on_us": statistics.median(taken[WARM_UP:])}


async def _off(worker: Worker, blocks: Blocks) -> dict[str, float]:
    code, taken = Code(), {form: list[float]() for form in FORMS}
    for cycle in range(WARM_UP + CYCLES):
        for turn in range(len(FORMS)):
            form = FORMS[(cycle + turn) % len(FORMS)]  # none is always the first
            code.take(form)
            taken[form].append(await blocks.one(worker))
    kept = {form: each[WARM_UP:] for form, each in taken.items()}

    def against_absent(form: str) -> float:
        return statistics.median(ours / theirs for ours, theirs in zip(kept[form], kept["absent"], strict=True))

    return {
        "absent_us": statistics.median(kept["absent"]),
        "off_us": statistics.median(kept["off"]),
        "off_per_absent": against_absent("off"),
        "again_per_absent": against_absent("again"),
    }


class Blocks:
    """Messages that are published together, and all handled before the next ones are."""

    def __init__(self, size: int) -> None:
        self.topic = f"small{os.getpid()}"
        self._size = size
        self._published = 0
        self._left = 0
        self._done = asyncio.Event()

    def handled(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._done.set()

    async def one(self, worker: Worker) -> float:
        """Microseconds of the processor for each message."""
        self._left = self._size
        self._done.clear()
        numbers = range(self._published, self._published + self._size)
        self._published += self._size
        envelopes = [_envelope(self.topic, number) for number in numbers]
        used_s = time.process_time()
        await worker.adapters.bus.publish(*envelopes)
        await self._done.wait()
        return (time.process_time() - used_s) / self._size * 1e6


def _envelope(topic: str, number: int) -> Envelope:
    return Envelope(id=f"m{number}", address=topic, body=msgspec.json.encode(Small(number)), key=f"k{number % KEYS}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]))
