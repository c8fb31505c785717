"""Keeps this worker's free slots filled with the best eligible jobs, and knows all that run."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

import msgspec

from contracts import metrics as metric
from contracts import outcome
from contracts.job import Claim
from contracts.logging_context import work
from contracts.module import JobRoute
from contracts.ports import Clock, Log, Metrics
from contracts.ports.ledger import Ledger, Settlement
from runtime.jobs.handle import JobHandle
from runtime.jobs.lease import Lease
from runtime.jobs.settler import Settler
from runtime.jobs.work import JobWork
from runtime.pipeline import Mounted, Scope, Work, carry
from runtime.policy.retry import Cut
from runtime.supervisor import Fate
from runtime.tasks import Tasks

POLL_S = 5.0
NOTE_EVERY_S = 0.5


class Run(msgspec.Struct, kw_only=True):
    """A job that runs here now."""

    handle: JobHandle
    work: Work
    task: asyncio.Task[outcome.Outcome] | None = None
    ended: outcome.Outcome | None = None


class Dispatcher:
    """`started` begins runs; `run` is the loop that claims."""

    def __init__(
        self,
        *,
        routes: Mapping[str, Mounted],
        ledger: Ledger,
        lease: Lease,
        settler: Settler,
        make_scope: Callable[[Mounted, JobHandle], Scope],
        tasks: Tasks,
        slots: int,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        only: Sequence[str] = (),
    ) -> None:
        self._routes = routes
        self._ledger = ledger
        self._lease = lease
        self._settler = settler
        self._make_scope = make_scope
        self._tasks = tasks
        self._slots = slots
        self._turns = deque(routes)
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._only = only
        self._busy = dict.fromkeys(routes, 0)
        self._more = asyncio.Event()
        self._more.set()
        self._backlog = set(routes)
        """The addresses of which something may be eligible."""
        self._taking = True
        self._out = 0
        self._all_back = asyncio.Event()
        self._all_back.set()
        self._still = False
        self.doubt = asyncio.Event()
        """The answer to a claim was lost: the ledger may believe that more runs here than does."""
        self._ask_all = False
        self._came_back = asyncio.Event()
        """A job of ours is to be tried again: that can be due before the next look."""
        self.runs: dict[str, Run] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        self._ended_while_draining: dict[str, Run] = {}
        for mounted in routes.values():
            if mounted.gate:
                mounted.gate.subscribe(self)

    # What a breaker tells (`runtime.gate.Subscriber`).

    def opened(self, name: str, why: str) -> None:
        """Nothing is claimed of the routes that need it: `reserve` asks their gates."""

    def closed(self, name: str) -> None:
        """What was left queued may be claimed again."""
        self.left_queued()

    # Claims.

    def reserve(self, addresses: Collection[str]) -> dict[str, int]:
        """Take all free slots, by address of these, for one round trip that may bring claims; `started` gives them
        back. With fewer slots than addresses some of them have none. Empty when this worker may not take jobs now."""
        if not self._taking or self._still or not self._lease.worker_id:
            return {}
        room = self._slots - sum(self._busy.values())
        slots: dict[str, int] = {}
        # The address that came first goes last the next time, so that none starves the others of the shared slots.
        self._turns.rotate(-1)
        for address in self._turns:
            if address not in addresses:
                continue
            free = min(room, self._free(self._routes[address]))
            if free > 0:
                slots[address] = free
                self._busy[address] += free
                room -= free
        if slots:
            self._out += 1
            self._all_back.clear()
        return slots

    def _free(self, mounted: Mounted) -> int:
        """How many of the route may be started: what its concurrency leaves, unless it waits for a dependency."""
        free = _concurrency(mounted) - self._busy[mounted.route.address]
        passing = mounted.gate.room() if mounted.gate else None
        return free if passing is None else min(free, passing)

    def started(self, slots: Mapping[str, int], claims: Iterable[Claim] | None) -> None:
        """Start what a round trip with `slots` brought; None: it may have brought some, but its answer was lost."""
        for address, room in slots.items():
            self._busy[address] -= room
        for claim in claims or ():
            self._start(claim)
        if slots and claims is None:
            self.doubt.set()
        if slots:
            self._out -= 1
        if not self._out:
            self._all_back.set()
        if self._backlog:
            # The claiming loop may have found no slot free because this round trip held them.
            self._more.set()

    @asynccontextmanager
    async def standstill(self) -> AsyncIterator[None]:
        """Within the block nothing is on its way that may bring claims, and nothing sets out."""
        self._still = True
        try:
            await self._all_back.wait()  # each has a deadline
            yield
        finally:
            self._still = False
            self._more.set()

    def left_queued(self) -> None:
        """Something was recorded that could not start at once."""
        self._backlog.update(self._routes)
        self._more.set()

    async def run(self) -> None:
        """The loop: claim whenever there is room and something may be eligible."""
        while self._taking:
            await self._more.wait()
            self._more.clear()
            if not (slots := self.reserve(self._backlog)):
                continue
            claims: list[Claim] | None = None
            self._backlog -= slots.keys()
            try:
                claims = await self._ledger.queue.claim(self._lease.worker_id, slots, only=self._only)
                # A full answer means that there may be more, for when a slot is free again.
                taken = Counter(claim.address for claim in claims)
                self._backlog |= {address for address, room in slots.items() if taken[address] == room}
            except BaseException:
                self._backlog |= slots.keys()
                raise
            finally:
                self.started(slots, claims)

    async def listen(self) -> None:
        """The loop that hears of new work and of cancellations."""
        async for _ in self._ledger.queue.wakeups():
            self.left_queued()
            self._ask_all = True

    async def poll(self) -> None:
        """The fallback loop: delayed jobs come due, and no lost notification may strand a job."""
        while True:
            self._came_back.clear()
            # What waits for a dependency is not due, however long it has waited.
            passing = [address for address, one in self._routes.items() if not one.gate or one.gate.room() != 0]
            due_in_s = await self._ledger.queue.next_due_s(passing) if passing else None
            wait_s = POLL_S if due_in_s is None else min(POLL_S, max(0.05, due_in_s))
            try:
                async with self._clock.timeout(wait_s):
                    await self._came_back.wait()
            except TimeoutError:
                self.left_queued()

    async def note(self) -> None:
        """The loop that saves progress, hears of cancellations with it, and says how busy this worker is."""
        while True:
            await self._clock.sleep(NOTE_EVERY_S)
            ask_all, self._ask_all = self._ask_all, False
            for address, busy in self._busy.items():
                self._metrics.set(metric.JOBS_IN_FLIGHT, busy, address=address)
            await self._note([run for run in self.runs.values() if not run.ended and (ask_all or run.handle.unsaved)])

    def stop_taking(self) -> None:
        """No further claims; what runs goes on."""
        self._taking = False
        self._more.set()

    async def round_trips_ended(self) -> None:
        """Returns once nothing is on its way that may bring claims: what runs then is all that will."""
        await self._all_back.wait()

    def lease_lost(self) -> None:
        """Everything that runs here belongs to others now."""
        for run in tuple(self.runs.values()):
            self._cut(run, "lease")

    # What a drain needs to know and do (`runtime.supervisor.InFlight`).

    def in_flight(self) -> list[str]:
        return list(self.runs)

    async def finished(self) -> None:
        await self._drained.wait()

    def ask_to_stop(self) -> None:
        for run in self.runs.values():
            run.handle.ask_to_stop(_overrun(run))

    def cut(self) -> None:
        for run in tuple(self.runs.values()):
            self._cut(run, _overrun(run))

    def fate(self, work_id: str) -> Fate:
        ended = self._ended_while_draining.get(work_id)
        match ended and ended.ended:
            case None:
                return "abandoned"
            case outcome.Release():
                return "checkpointed" if ended and ended.handle.checkpointed else "requeued"
            case outcome.Cancelled():
                return "cancelled"
        return "finished"

    def _cut(self, run: Run, why: Cut) -> None:
        """Cancel a run's handler; its outcome follows from `why`. One that is being settled is left alone."""
        if run.task and run.ended is None:
            run.handle.cut = run.handle.cut or why
            run.task.cancel()

    def _start(self, claim: Claim) -> None:
        mounted = self._routes[claim.address]
        handle = JobHandle(claim, self._ledger.queue)
        scope = self._make_scope(mounted, handle)
        run = Run(
            handle=handle,
            work=JobWork(
                mounted=mounted,
                decode=partial(mounted.decode, claim.body),
                attempt=claim.attempt,
                scope=scope,
                clock=self._clock,
                metrics=self._metrics,
                carried=lambda: [claim.headers],
                about=partial(_about, mounted, claim),
                admit=lambda: None,
                settle=partial(self._settle, handle),
                cut=handle.why_cut,
            ),
        )
        self._busy[claim.address] += 1
        self.runs[claim.id] = run
        self._drained.clear()
        run.task = self._tasks.start(carry(run.work), name=f"job {claim.id}")
        run.task.add_done_callback(partial(self._ended, run))

    async def _settle(self, handle: JobHandle, became: outcome.Outcome) -> None:
        run = self.runs[handle.id]
        result = None
        if isinstance(became, outcome.Done) or (isinstance(became, outcome.Dead) and became.result is not None):
            try:
                result = msgspec.json.encode(became.result)
            except (TypeError, ValueError, msgspec.MsgspecError) as error:
                became = outcome.Dead(
                    reason="the result can't be kept", error=f"{error}; return a Struct or plain data"
                )
        run.ended = became
        self._log_end(handle, became)
        settlement = Settlement(claim=handle.claim, outcome=became, result=result, progress=handle.latest)
        if not await self._settler.settle(settlement):
            self._log.warn("the run was not settled: another worker owns the job now", job=handle.id)
        elif isinstance(became, outcome.Retry | outcome.Release):
            self._came_back.set()

    def _ended(self, run: Run, task: asyncio.Task[outcome.Outcome]) -> None:
        claim = run.handle.claim
        if self.runs.get(claim.id) is run:  # its next run may have begun before this task was seen to end
            del self.runs[claim.id]
        self._busy[claim.address] -= 1
        if not task.cancelled() and (error := task.exception()):
            self._log.error("a run broke outside its handler", job=claim.id, error=repr(error))
        if not self._taking:
            self._ended_while_draining[claim.id] = run
        if not self.runs:
            self._drained.set()
        self._more.set()

    async def _note(self, runs: Iterable[Run]) -> None:
        noted = []
        for run in runs:
            noted.append((run.handle.claim, run.handle.latest if run.handle.unsaved else None))
            run.handle.unsaved = False
        if not noted:
            return
        for job_id in await self._ledger.queue.note(noted):
            asked = self.runs.get(job_id)
            if asked and not asked.ended:
                self._log.info("the job is asked to stop", job=job_id)
                asked.handle.ask_to_stop("cancelled")
                self._cut(asked, "cancelled")

    def _log_end(self, handle: JobHandle, became: outcome.Outcome) -> None:
        address = handle.claim.address
        kind = type(became).__name__.lower()
        self._metrics.add(metric.MESSAGES_PROCESSED, address=address, outcome=kind)
        match became:
            case outcome.Done():
                self._log.debug("job done", address=address)
            case outcome.Retry(after_s=after_s, error=error):
                self._metrics.add(metric.RETRIES, address=address)
                self._log.warn(
                    "job will be tried again",
                    address=address,
                    attempt=handle.attempt,
                    after_s=round(after_s, 1),
                    error=error,
                )
            case outcome.Dead(reason=reason, error=error):
                self._log.error("job failed", address=address, attempt=handle.attempt, reason=reason, error=error)
            case outcome.Cancelled(reason=reason) | outcome.Release(reason=reason):
                self._log.info(f"job {kind}", address=address, reason=reason)


def _overrun(run: Run) -> Cut:
    route = run.work.mounted.route
    return "end" if route.overrun == "cancel" else "drain"


def _concurrency(mounted: Mounted) -> int:
    assert isinstance(mounted.route, JobRoute)
    return mounted.route.concurrency


def _about(mounted: Mounted, claim: Claim) -> AbstractContextManager[object]:
    return work(module=mounted.module.name, correlation_id=claim.correlation_id, job_id=claim.id)
