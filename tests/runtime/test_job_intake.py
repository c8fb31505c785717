"""Commands on their way into the ledger: what keeps them from being acknowledged only delays that."""

from __future__ import annotations

import pytest

from adapters.bus.memory.bus import MemoryBus
from adapters.clock.manual import ManualClock
from contracts.errors import Unavailable
from contracts.message import Contract
from contracts.module import Module
from tests.kit.faults import Fail, Faults
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio


class RunNothing(Contract, frozen=True):
    """A command."""


async def test_a_commit_that_failed_is_made_up_for_without_another_command(clock: ManualClock) -> None:
    module = Module("nothing", kind="job", summary="Does nothing.")

    @module.job("run.nothing", RunNothing)
    async def run(cmd: RunNothing) -> None:
        return

    faults, bus = Faults(), MemoryBus(clock)
    failed = faults.at("assignment.commit", Fail(error=lambda: Unavailable("the bus", "for a while")), times=2)
    async with harness(module, clock=clock, bus=faults.around(bus)) as running:
        await running.job("run.nothing", RunNothing())
        await running.until(lambda: bus.log.stats("run.nothing").lag == {"jobs": 0}, what="the commit")
    assert failed.fired.is_set()
