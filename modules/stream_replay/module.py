"""What the module declares."""

from __future__ import annotations

from contracts.job import Job
from contracts.module import Module, Retry
from contracts.ports import Clock, Db, Feed, History, Log
from contracts.stream_replay import RunStreamReplay, StreamReplayReport

module = Module(
    "stream_replay",
    kind="job",
    summary="Publish what lies on a topic once more, into another one: for results anew, by the same code.",
    examples="millrace run stream_replay --topic readings --into readings.again --from 2026-01-15T00:00:00Z\n"
    "millrace run stream_replay --topic readings --into readings.again --rate 1000 --dry-run",
)


@module.job(
    "run.stream_replay",
    RunStreamReplay,
    retry=Retry(attempts=5),
    timeout_s=24 * 3600,
    overrun="checkpoint",
    unique=("into",),
)
async def run(
    cmd: RunStreamReplay, job: Job, db: Db, history: History, feed: Feed, clock: Clock, log: Log
) -> StreamReplayReport:
    """Publish what lies on a topic between two instants into another one, some thousand messages a transaction."""
    from modules.stream_replay.run import Replay

    return await Replay(cmd, job=job, db=db, history=history, feed=feed, clock=clock, log=log).run()
