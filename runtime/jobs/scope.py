"""What a job's handler is given for this one run."""

from __future__ import annotations

from contracts.job import Job
from contracts.ports import Db, Emit, Feed, Log
from runtime.emit import JobEmitter
from runtime.feed import JobFeed
from runtime.jobs.handle import JobHandle
from runtime.jobs.plain import PlainJob
from runtime.pipeline import Mounted
from runtime.wiring import Adapters


class JobScope:
    """Made for each run; each part is made only when the handler asks for it."""

    def __init__(self, adapters: Adapters, mounted: Mounted, handle: JobHandle) -> None:
        self._adapters = adapters
        self._mounted = mounted
        self._handle = handle
        self._emit: JobEmitter | None = None
        self._feed: JobFeed | None = None

    async def __aenter__(self) -> JobScope:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        """A job commits what it does step by step: there is nothing to be done at its end."""

    @property
    def job(self) -> Job:
        return PlainJob(self._handle) if self._mounted.plain else self._handle

    @property
    def db(self) -> Db:
        """Fenced: a transaction of a run that lost its lease can't commit."""
        claim = self._handle.claim
        name = f"millrace {self._mounted.module.name} {claim.correlation_id}"
        return self._adapters.db.scoped(name=name[:63], guard=self._adapters.ledger.queue.guard(claim))

    @property
    def log(self) -> Log:
        return self._adapters.log

    @property
    def emit(self) -> Emit:
        if self._emit is None:
            handle, traces = self._handle, self._adapters.traces
            self._emit = JobEmitter(
                self._adapters.ledger.outbox,
                self._adapters.clock,
                handle.claim,
                checkpoint=lambda: handle.last_checkpoint,
                carried=traces.headers if traces else None,
            )
        return self._emit

    @property
    def feed(self) -> Feed:
        if self._feed is None:
            adapters, traces = self._adapters, self._adapters.traces
            self._feed = JobFeed(
                adapters.ledger.outbox,
                adapters.clock,
                self._handle.claim,
                carried=traces.headers if traces else None,
            )
        return self._feed
