"""What every Bus promises.

Each promise is a function of a `Backing`; an implementation's test file runs every one of `PROMISES`:

    @pytest.mark.parametrize("promise", PROMISES, ids=name_of)
    async def test_mine(promise: Promise) -> None:
        await promise(MyBacking())
"""

from __future__ import annotations

from tests.conformance import bus_flow, bus_life, bus_messages, bus_sharing
from tests.conformance.bus_promise import PROMISES, Promise, name_of

__all__ = ["PROMISES", "Promise", "bus_flow", "bus_life", "bus_messages", "bus_sharing", "name_of"]
