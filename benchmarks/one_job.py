"""A command to a worker of this process, until its job is settled."""

from __future__ import annotations

import asyncio
import time

import msgspec

from contracts.job import JobRow, JobState
from runtime import commands
from runtime.worker import Worker


async def settled(worker: Worker, command: msgspec.Struct, *, address: str) -> tuple[JobRow, float]:
    """The job, which must have ended well, and how many seconds it took from its publishing."""
    envelope = commands.envelope(address, command, contract=type(command), clock=worker.clock)
    began = time.perf_counter()
    await worker.submit(envelope)
    while (row := await worker.adapters.ledger.desk.get(envelope.id)) is None or not row.state.final:
        run = worker.dispatcher.runs.get(envelope.id)
        await (asyncio.wait([run.task]) if run and run.task else asyncio.sleep(0.001))  # noqa: TID251 - until claimed
    seconds = time.perf_counter() - began
    assert row.state is JobState.DONE, row
    return row, seconds
