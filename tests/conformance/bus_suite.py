"""What every Bus promises.

Each promise is a function of a `Backing`; an implementation's test file runs every one of `PROMISES`:

    @pytest.mark.parametrize("promise", PROMISES, ids=name_of)
    async def test_mine(promise: Promise) -> None:
        await promise(MyBacking())

`bus_scene` says what a backing supplies.
"""

from __future__ import annotations

from tests.conformance import (
    bus_dying,
    bus_flow,
    bus_history,
    bus_life,
    bus_messages,
    bus_positions,
    bus_sharing,
    bus_strangers,
    bus_time,
)
from tests.conformance.bus_promise import PROMISES, Promise, name_of

__all__ = [
    "PROMISES",
    "Promise",
    "bus_dying",
    "bus_flow",
    "bus_history",
    "bus_life",
    "bus_messages",
    "bus_positions",
    "bus_sharing",
    "bus_strangers",
    "bus_time",
    "name_of",
]
