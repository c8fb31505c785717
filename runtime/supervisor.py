"""One owner of the process's life: RUNNING, DRAINING, CLOSING, CLOSED, with one deadline for all of it.

Draining stops intake on every route at once, lets running work finish, asks what is left to save a checkpoint, cuts
it at the deadline, and hands back what did not finish. The last log line says what became of every id in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

import msgspec

from contracts import metrics as metric
from contracts.ports import Clock, Log, Metrics
from runtime.policy.drain import Phase, PhaseMachine, asking_s

Fate = Literal["finished", "requeued", "checkpointed", "cancelled", "abandoned"]
CUT_GRACE_S = 5.0
INTAKE_GRACE_S = 1.0
"""For what is on its way into the ledger when a second signal comes: it is not acknowledged, so nothing is lost."""


class InFlight(Protocol):
    """Work of one kind that a drain has to wait for: the jobs, or the stream routes."""

    def in_flight(self) -> list[str]:
        """Ids of what runs now."""
        ...

    async def finished(self) -> None:
        """Returns when nothing runs."""
        ...

    def ask_to_stop(self) -> None: ...

    def cut(self) -> None:
        """Cancel what still runs, each by its route's overrun policy."""
        ...

    def fate(self, work_id: str) -> Fate:
        """What became of a piece of work that was in flight."""
        ...


class DrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every id that was in flight when the drain began. `clean`: nothing was cut."""

    reason: str
    seconds: float
    fates: dict[str, Fate]
    faults: list[str]

    @property
    def clean(self) -> bool:
        return not self.faults and all(fate == "finished" for fate in self.fates.values())


Step = tuple[str, Callable[[], Awaitable[None]]]


class Supervisor:
    """Holds the phase and runs the drain. Steps that fail are reported, and never stop the ones after them."""

    def __init__(self, *, timeout_s: float, clock: Clock, log: Log, metrics: Metrics) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._machine = PhaseMachine()
        self._cut_now = asyncio.Event()
        self._cut_at = 0.0
        self._faults: list[str] = []
        self.stopping = asyncio.Event()
        self.reason = ""
        self.failed = False

    @property
    def phase(self) -> Phase:
        return self._machine.phase

    def enter(self, phase: Phase) -> None:
        if self._machine.enter(phase):
            self._metrics.set(metric.DRAIN_PHASE, phase.value)

    def stop(self, reason: str, *, failed: bool = False) -> None:
        """Ask for the end of the process. The first call drains; a second one cuts at once."""
        if self.stopping.is_set():
            if not self._cut_now.is_set():
                self._log.warn("asked to stop again: what still runs is cut now", reason=reason)
                self._cut_at = self._clock.monotonic()
                self._cut_now.set()
            return
        self.reason = reason
        self.failed = failed
        self.stopping.set()

    async def drain(
        self, work: list[InFlight], *, stop_intake: Step, hooks: list[Step], close: list[Step]
    ) -> DrainReport:
        """Everything from the first signal to the last closed adapter."""
        began_at = self._clock.monotonic()
        deadline = began_at + self._timeout_s
        self.enter(Phase.DRAINING)
        await self._step(stop_intake, deadline, cut_grace_s=INTAKE_GRACE_S)
        flying = [(kind, work_id) for kind in work for work_id in kind.in_flight()]
        self._log.info("draining", reason=self.reason, in_flight=len(flying), timeout_s=self._timeout_s)
        await self._finish(work, began_at, deadline)
        fates = {work_id: kind.fate(work_id) for kind, work_id in flying}
        # Hooks and adapters have a little time of their own when the work took it all.
        last_call = max(deadline, self._clock.monotonic() + CUT_GRACE_S)
        for step in hooks:
            await self._step(step, last_call)
        self.enter(Phase.CLOSING)
        for step in close:
            await self._step(step, last_call)
        self.enter(Phase.CLOSED)
        return DrainReport(
            reason=self.reason,
            seconds=round(self._clock.monotonic() - began_at, 3),
            fates=fates,
            faults=self._faults,
        )

    async def _finish(self, work: list[InFlight], began_at: float, deadline: float) -> None:
        if await self._all_finished(work, began_at + asking_s(self._timeout_s)):
            return
        for kind in work:
            kind.ask_to_stop()
        if await self._all_finished(work, deadline):
            return
        for kind in work:
            kind.cut()
        await self._all_finished(work, self._clock.monotonic() + CUT_GRACE_S, whatever_comes=True)

    async def _all_finished(self, work: list[InFlight], until: float, *, whatever_comes: bool = False) -> bool:
        """Whether everything ended before `until`, and before someone asked to cut at once."""
        async with asyncio.TaskGroup() as group:
            cut = [] if whatever_comes else [group.create_task(self._cut_now.wait())]
            ends = [group.create_task(kind.finished()) for kind in work]
            all_ended = group.create_task(_all(ends))
            try:
                async with self._clock.timeout(max(0.0, until - self._clock.monotonic())):
                    await asyncio.wait([all_ended, *cut], return_when=asyncio.FIRST_COMPLETED)
            except TimeoutError:
                pass
            finished = all_ended.done()
            for waiter in (*cut, all_ended, *ends):
                waiter.cancel()
        return finished

    async def _step(self, step: Step, deadline: float, *, cut_grace_s: float = 2 * CUT_GRACE_S) -> None:
        """Until it ended, or its deadline; a second signal leaves it `cut_grace_s` at most."""
        name, act = step
        async with asyncio.TaskGroup() as group:
            acting = group.create_task(_caught(act))
            cut = group.create_task(self._cut_now.wait())
            watched: set[asyncio.Task[Any]] = {acting, cut}
            while not acting.done():
                if cut.done():
                    watched.discard(cut)
                    deadline = min(deadline, self._cut_at + cut_grace_s)
                try:
                    async with self._clock.timeout(max(0.1, deadline - self._clock.monotonic())):
                        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                except TimeoutError:
                    break
            fault = _fault_of(acting)
            acting.cancel()
            cut.cancel()
        if fault:
            self._fault(f"{name}: {fault}")

    def _fault(self, fault: str) -> None:
        self._faults.append(fault)
        self._log.error("drain step failed", fault=fault)


async def _caught(act: Callable[[], Awaitable[None]]) -> str:
    """What went wrong, in words; empty when nothing did."""
    try:
        await act()
    except Exception as error:  # noqa: BLE001 - it is reported, and the steps after it still run
        return repr(error)
    return ""


def _fault_of(acting: asyncio.Task[str]) -> str:
    if not acting.done():
        return "did not end by the deadline"
    return "waited for something that was cancelled" if acting.cancelled() else acting.result()


async def _all(ends: list[asyncio.Task[None]]) -> None:
    for end in ends:
        await end
