"""No-op jobs through Millrace: `python -m benchmarks.millrace_jobs URL JOBS`; prints rate and latency as JSON.

The clock runs from the first `publish` of a command on the bus to the last settled row: publishing and recording are
in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.used import Used
from contracts.job import JobState
from contracts.message import Contract, Envelope
from contracts.module import Module
from runtime import commands, settings
from runtime.worker import Worker

module = Module("bench", kind="job", summary="Does nothing, often.")
SLOTS = 200
started: dict[int, float] = {}


class Noop(Contract, frozen=True):
    n: int


@module.job("run.noop", Noop, concurrency=SLOTS)
async def noop(cmd: Noop) -> None:
    started[cmd.n] = time.perf_counter()


async def main(url: str, jobs: int) -> None:
    """One worker process; what it settled is counted in the database."""
    with TemporaryDirectory() as directory:
        environ = {"DB_POSTGRES_URL": url, "MILLRACE_LOG": "json", "LOG_LEVEL": "warn", "JOB_SLOTS": str(SLOTS)}
        worker = Worker(settings.load(overrides={}, environ=environ, directory=Path(directory)), [module])
        await worker.start()
        latencies = await _latencies(worker)
        envelopes = [_envelope(worker, n) for n in range(jobs)]
        began, used = time.perf_counter(), Used()
        for envelope in envelopes:
            await worker.adapters.bus.publish(envelope)
        while len(started) < jobs + len(latencies) or worker.dispatcher.runs:
            await asyncio.sleep(0.005)  # noqa: TID251 - a benchmark's own wait
        seconds, taken = time.perf_counter() - began, used.by(jobs)
        counts = await worker.adapters.ledger.desk.counts()
        await worker.stop()
    assert counts == {("run.noop", JobState.DONE): jobs + len(latencies)}, counts
    latencies.sort()
    figures = {
        "jobs_per_s": jobs / seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }
    print(json.dumps(figures | taken))


async def _latencies(worker: Worker, count: int = 300) -> list[float]:
    """From `publish` to the first line of the handler, one at a time on an idle worker."""
    waits = []
    for n in range(-count, 0):
        envelope = _envelope(worker, n)
        published = time.perf_counter()
        await worker.adapters.bus.publish(envelope)
        while n not in started or worker.dispatcher.runs:
            await asyncio.sleep(0.001)  # noqa: TID251 - a benchmark's own wait
        waits.append(started[n] - published)
    return waits


def _envelope(worker: Worker, n: int) -> Envelope:
    return commands.envelope("run.noop", Noop(n=n), contract=Noop, clock=worker.clock)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
