"""Commands from the bus into the ledger: recorded in batches, then acknowledged, and started where there is room.

A command is acknowledged only after it is recorded; one that can't be decoded is buried in the dead letters first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from contracts import metrics as metric
from contracts.errors import LeaseLost, Permanent, Unavailable, Undecodable
from contracts.job import Claim, NewJob
from contracts.message import Delivery, Envelope
from contracts.module import JobRoute
from contracts.outcome import Dead
from contracts.ports import Assignment, Clock, Log, Metrics
from contracts.ports.ledger import Ledger, Recorded
from runtime.dead_letter import dead_letter
from runtime.jobs.dispatcher import Dispatcher
from runtime.jobs.lease import Lease
from runtime.partly import Partly
from runtime.peers import Peers
from runtime.pipeline import Mounted
from runtime.policy.retry import UNDECODABLE
from runtime.policy.watermark import Watermark

BATCH = 500
BUFFER = 2_000
FULL = "the ledger is behind"
RETRY_MAX_S = 5.0


class Intake:
    """The commands of all job routes of this worker. `recorded_of` lets a publisher wait for its own."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        lease: Lease,
        peers: Peers,
        *,
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._lease = lease
        self._peers = peers
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._buffer: deque[tuple[JobConsumer, Assignment, Delivery]] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        # Two may post under one id at the same time: each is answered, the first to ask first.
        self._expected: dict[str, list[asyncio.Future[Recorded | Permanent]]] = {}
        self._full: set[Assignment] = set()
        self._unacknowledged: dict[Assignment, JobConsumer] = {}

    def expect(self, message_id: str) -> asyncio.Future[Recorded | Permanent]:
        """A future of what recording made of the command with this id; forget it with `cancel()`."""
        future: asyncio.Future[Recorded | Permanent] = asyncio.get_running_loop().create_future()
        self._expected.setdefault(message_id, []).append(future)
        future.add_done_callback(partial(self._forget, message_id))
        return future

    def _forget(self, message_id: str, future: asyncio.Future[Recorded | Permanent]) -> None:
        waiting = self._expected[message_id]
        waiting.remove(future)
        if not waiting:
            del self._expected[message_id]

    def put(self, consumer: JobConsumer, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        self._buffer.extend((consumer, assignment, delivery) for delivery in deliveries)
        self._idle.clear()
        self._arrived.set()
        if len(self._buffer) >= BUFFER:
            self._full.add(assignment)
            assignment.pause(FULL)

    async def emptied(self) -> None:
        """Returns once everything that was fetched is recorded."""
        await self._idle.wait()

    async def run(self) -> None:
        """The loop. While the ledger is down commands stay here, unacknowledged, and are tried again."""
        failures = 0
        while True:
            await self._arrived.wait()
            batch = [self._buffer[n] for n in range(min(BATCH, len(self._buffer)))]
            try:
                await self._record(batch)
            except Unavailable as error:
                failures += 1
                self._log.warn(
                    "the ledger does not take commands; they wait", waiting=len(self._buffer), error=str(error)
                )
                await self._clock.sleep(min(RETRY_MAX_S, 0.1 * 2.0**failures))
                continue
            failures = 0
            for _ in batch:
                self._buffer.popleft()
            await self._acknowledge(batch)
            if not self._buffer:
                self._arrived.clear()
                self._idle.set()
            if len(self._buffer) < BUFFER // 2:
                for assignment in self._full:
                    assignment.resume(FULL)
                self._full.clear()

    async def _record(self, batch: Sequence[tuple[JobConsumer, Assignment, Delivery]]) -> None:
        jobs = []
        for consumer, _, delivery in batch:
            try:
                command = consumer.mounted.decode(delivery.envelope.body)
                jobs.append((new_job(consumer.route, command, delivery.envelope), delivery))
            except Undecodable as error:
                await self._left_or_buried(consumer.route, delivery, error)
        if jobs:
            await self._record_jobs(jobs)

    async def _left_or_buried(self, route: JobRoute, delivery: Delivery, error: Undecodable) -> None:
        """What a worker of another version may be able to read is recorded for it, and not claimed here at once."""
        reader = await self._peers.reader_of(route.address)
        job = unread_job(route, delivery.envelope) if reader else None
        if job is None:
            await self._bury(delivery, UNDECODABLE, error)
            return
        self._log.warn("recorded for a worker of another version", id=job.id, reader=reader, error=str(error))
        try:
            [recorded] = await self._ledger.queue.record([job])
        except Permanent as refused:
            await self._bury(delivery, "the ledger refuses it", refused)
            return
        self._answer(recorded.id, recorded)

    async def _record_jobs(self, jobs: Sequence[tuple[NewJob, Delivery]]) -> None:
        """All together; where the ledger refuses one for good, the others are recorded without it."""
        try:
            await self._record_together([job for job, _ in jobs])
        except Permanent as error:
            if len(jobs) == 1:
                await self._bury(jobs[0][1], "the ledger refuses it", error)
                return
            middle = len(jobs) // 2
            await self._record_jobs(jobs[:middle])
            await self._record_jobs(jobs[middle:])

    async def _record_together(self, jobs: Sequence[NewJob]) -> None:
        slots = self._dispatcher.reserve({job.address for job in jobs})
        claims: list[Claim] | None = None
        try:
            recorded = await self._ledger.queue.record(jobs, worker_id=self._lease.worker_id or None, slots=slots)
            claims = [one.claim for one in recorded if one.claim]
        finally:
            self._dispatcher.started(slots, claims)
        for one in recorded:
            self._answer(one.id, one)
        if any(one.became == "recorded" and not one.claim for one in recorded):
            self._dispatcher.left_queued()

    async def _acknowledge(self, batch: Sequence[tuple[JobConsumer, Assignment, Delivery]]) -> None:
        for consumer, assignment, delivery in batch:
            consumer.finished(assignment, delivery)
            self._unacknowledged[assignment] = consumer
        for assignment, consumer in tuple(self._unacknowledged.items()):
            try:
                await assignment.commit(consumer.watermark(assignment))  # while the bus is down, it is tried again
            except LeaseLost:
                # Someone else has the partition and will record these again: a no-op by id.
                self._log.debug("a partition moved before its commands were acknowledged")
            del self._unacknowledged[assignment]

    async def _bury(self, delivery: Delivery, reason: str, error: Permanent) -> None:
        await self._ledger.dead_letters.bury([dead_letter(delivery, Dead(reason=reason, error=str(error)))])
        self._metrics.add(metric.DEAD_LETTERS, address=delivery.envelope.address, reason=reason)
        self._log.error("command buried", id=delivery.envelope.id, reason=reason, error=str(error))
        self._answer(delivery.envelope.id, error)

    def _answer(self, message_id: str, answer: Recorded | Permanent) -> None:
        for expected in self._expected.get(message_id, ()):
            if not expected.done():
                expected.set_result(answer)
                return


class JobConsumer:
    """One job route, as the bus adapter sees it."""

    def __init__(self, mounted: Mounted, intake: Intake) -> None:
        self.mounted = mounted
        self._intake = intake
        self._marks: dict[Assignment, Watermark] = {}

    @property
    def route(self) -> JobRoute:
        assert isinstance(self.mounted.route, JobRoute)
        return self.mounted.route

    async def assigned(self, assignment: Assignment) -> None:
        self._marks[assignment] = Watermark()

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        mark = self._marks[assignment]
        for delivery in deliveries:
            mark.begin(delivery.position)
        self._intake.put(self, assignment, deliveries)

    async def revoked(self, assignment: Assignment) -> None:
        await self._intake.emptied()
        self._marks.pop(assignment, None)

    def finished(self, assignment: Assignment, delivery: Delivery) -> None:
        if mark := self._marks.get(assignment):
            mark.finish(delivery.position)

    def watermark(self, assignment: Assignment) -> int:
        mark = self._marks.get(assignment)
        return mark.value if mark else 0


def new_job(route: JobRoute, command: msgspec.Struct, envelope: Envelope) -> NewJob:
    """The command as the ledger records it."""
    return _job(route, envelope, _unique_key(route, command) if route.unique else None)


def unread_job(route: JobRoute, envelope: Envelope) -> NewJob | None:
    """The same of a command that can't be read whole; None where its unique key can't be known."""
    if not route.unique:
        return _job(route, envelope, None)
    command = Partly(route.contract, route.unique).read(envelope.body)
    return None if command is None else _job(route, envelope, _unique_key(route, command))


def _job(route: JobRoute, envelope: Envelope, unique_key: str | None) -> NewJob:
    return NewJob(
        id=envelope.id,
        address=route.address,
        body=envelope.body,
        headers=envelope.headers,
        correlation_id=envelope.correlation_id,
        priority=envelope.priority,
        not_before=envelope.not_before,
        unique_key=unique_key,
        unique_skip=route.unique_skip,
    )


def _unique_key(route: JobRoute, command: msgspec.Struct) -> str:
    values: Mapping[str, Any] = {name: getattr(command, name) for name in route.unique}
    return f"{route.address} {msgspec.json.encode(values, order='sorted').decode()}"
