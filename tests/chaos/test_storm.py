"""The storm in its short form; `task chaos` is the long one."""

from __future__ import annotations

import os

import msgspec
import pytest

from tests.chaos.plan import Plan
from tests.chaos.storm import STEPS, alone

SEED = 11
"""The same blows each time, so that the gate is no lottery; other seeds are for the long form."""

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.usefixtures("unwatched")]


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
async def test_every_effect_is_there_once_and_in_order(mq: str) -> None:
    seed = int(os.environ.get("MILLRACE_CHAOS_SEED", SEED))
    plan = Plan(mq=mq, messages=600, jobs=12, blows=8, broker_restarts=1, database_restarts=1, cuts=4, seed=seed)
    summary = await alone(plan)
    print(msgspec.json.encode(summary).decode())
    assert summary.faults == []
    assert summary.effects == {"taken": plan.messages, "seen": plan.messages, "counted": STEPS * plan.jobs}
