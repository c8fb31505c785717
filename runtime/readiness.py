"""Whether this process can take work: its phase, and a check of each adapter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from runtime.policy.drain import Phase
from runtime.wiring import check

if TYPE_CHECKING:
    from runtime.worker import Worker

CHECK_TIMEOUT_S = 2.0
GOOD_FOR_S = 0.5
"""Anyone may ask, so asking often must not become a load on the adapters."""


class Checked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One adapter: how long its round trip took, and what is wrong (told to those who may see all)."""

    status: str
    ms: float
    fault: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is `ok` or `unavailable`; `phase` says where the process is in its life."""

    status: str
    phase: str
    checks: dict[str, Checked]

    @property
    def ok(self) -> bool:
        return self.status == "ok"


class Readiness:
    """Asks all adapters side by side. Requests that come together share one round."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._checks: dict[str, Checked] = {}

    async def report(self, *, in_full: bool = True) -> Report:
        """The phase is always that of now. Without `in_full`, faults are not told."""
        if self._worker.supervisor.phase < Phase.CLOSING:
            await self._ask()
        phase = self._worker.supervisor.phase
        well = phase is Phase.RUNNING and all(one.status == "ok" for one in self._checks.values())
        checks = {
            name: one if in_full else msgspec.structs.replace(one, fault="") for name, one in self._checks.items()
        }
        return Report(status="ok" if well else "unavailable", phase=phase.name.lower(), checks=checks)

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
