"""Whether this process can take work: its phase, a check of each adapter, and what its routes wait for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from runtime.breakers import BreakerState
from runtime.policy.drain import Phase
from runtime.watchdog import LoopStalls
from runtime.wiring import check

if TYPE_CHECKING:
    from runtime.worker import Worker

CHECK_TIMEOUT_S = 2.0
GOOD_FOR_S = 0.5
"""Anyone may ask, so asking often must not become a load on the adapters."""

GONE_ON_WITHOUT = frozenset({"cache"})
"""Its callers do its work themselves while it is down: no route waits for it."""

Status = Literal["ok", "degraded", "unavailable"]


class Checked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One adapter: how long its round trip took, and what is wrong (told to those who may see all)."""

    status: str
    ms: float
    fault: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A route that takes nothing until these are back."""

    module: str
    address: str
    waits_for: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`status` is `ok`; `degraded` while some of the routes wait for something and others go on; else `unavailable`.
    `phase` says where the process is in its life. `breakers` are those that are not closed, by dependency; `loop` tells
    of the times when something blocked the event loop."""

    status: Status
    phase: str
    checks: dict[str, Checked]
    routes: tuple[Waiting, ...] = ()
    breakers: dict[str, BreakerState] = msgspec.field(default_factory=dict)
    loop: LoopStalls | None = None

    @property
    def ok(self) -> bool:
        """It can take work, if not of every kind."""
        return self.status != "unavailable"


class Readiness:
    """Asks all adapters side by side. Requests that come together share one round."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._supervision = worker.supervision
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._checks: dict[str, Checked] = {}

    async def report(self, *, in_full: bool = True) -> Report:
        """The phase is always that of now. Without `in_full`, faults are not told."""
        if self._worker.supervisor.phase < Phase.CLOSING:
            await self._ask()
        phase = self._worker.supervisor.phase
        waiting = self._waiting()
        checks, breakers = self._checks, self._supervision.breakers.states()
        if not in_full:
            checks = {name: msgspec.structs.replace(one, fault="") for name, one in checks.items()}
            breakers = {name: msgspec.structs.replace(one, why="") for name, one in breakers.items()}
        return Report(
            status=self._status(waiting) if phase is Phase.RUNNING else "unavailable",
            phase=phase.name.lower(),
            checks=checks,
            routes=waiting,
            breakers=breakers,
            loop=self._supervision.watchdog.stalls,
        )

    def _status(self, waiting: tuple[Waiting, ...]) -> Status:
        failing = {name for name, one in self._checks.items() if one.status != "ok"}
        if not waiting and not failing:
            return "ok"
        if not waiting and failing <= GONE_ON_WITHOUT:
            return "degraded"
        return "degraded" if len(waiting) < len(self._supervision.breakers.gates) else "unavailable"

    def _waiting(self) -> tuple[Waiting, ...]:
        """Routes that need what does not answer (every route needs the bus), and those of which a partition is blocked:
        the log says by what."""
        failing = {name for name, one in self._checks.items() if one.status != "ok"} - GONE_ON_WITHOUT
        found = [
            (gate, tuple(sorted({*gate.down, *(failing & {*gate.needs, "bus"})})))
            for gate in self._supervision.breakers.gates
        ]
        waiting = [Waiting(module=one.module, address=one.address, waits_for=names) for one, names in found if names]
        return (*waiting, *self._blocked())

    def _blocked(self) -> list[Waiting]:
        return [
            Waiting(
                module=consumer.mounted.module.name,
                address=consumer.route.address,
                waits_for=(f"someone: partition {', '.join(map(str, consumer.blocked))} is blocked",),
            )
            for consumer in self._worker.streams.consumers
            if consumer.blocked
        ]

    async def _ask(self) -> None:
        clock = self._worker.clock
        async with self._asking:
            if clock.monotonic() - self._asked_at < GOOD_FOR_S:
                return
            answers = await check(self._worker.adapters.opened, clock, timeout_s=CHECK_TIMEOUT_S)
            self._checks = {
                name: Checked(status="unavailable" if fault else "ok", ms=round(ms, 2), fault=fault)
                for name, (ms, fault) in answers.items()
            }
            self._asked_at = clock.monotonic()
