"""What a worker does on a bus with each right that it needs."""

from __future__ import annotations

from typing import Any

from adapters.clock.system import SystemClock
from contracts.message import Envelope
from tests.conformance.bus_recorder import Recorder
from tests.kit.waiting import until


async def uses_all_rights(bus: Any, recorder: Recorder) -> None:
    """`recorder` is mounted on the bus. Raises what the bus says of a right that is missing."""
    await bus.open()
    await bus.start()
    await bus.publish(Envelope(id=SystemClock().new_id(), address=recorder.route.address, body=b"{}"))
    await until(lambda: bool(recorder.deliveries or bus._mounted[0].faults), timeout_s=20)
    await bus.check()
