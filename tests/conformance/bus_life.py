"""Bus promises: opening, mounting, documents."""

from __future__ import annotations

import json

import msgspec
import pytest
from faststream import FastStream

from contracts.errors import Conflict, Faults, Unavailable
from tests.conformance.bus_promise import promise
from tests.conformance.bus_scene import Backing, Order, Recorder, Scene, stream


@promise
async def a_bus_that_is_not_open_says_so(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        with pytest.raises(Unavailable, match="open"):
            await bus.publish(scene.envelope(b"{}"))
        with pytest.raises(Unavailable):
            await bus.check()
        await bus.open()
        await bus.check()
        await bus.publish(scene.envelope(b"{}"))
        await bus.close()
        with pytest.raises(Unavailable):
            await bus.publish(scene.envelope(b"{}"))
        with pytest.raises(Unavailable):
            await bus.check()
        assert bus.address


@promise
async def routes_are_mounted_once_and_before_the_start(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        with pytest.raises(Faults, match="twice"):
            bus.mount(scene.recorder(), schema={})
        await bus.open()
        await bus.start()
        with pytest.raises(Conflict, match="before `start`"):
            bus.mount(scene.recorder(group=f"late-{scene.group}"), schema={})


@promise
async def a_route_that_cannot_be_mounted_is_refused(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        other = stream(scene.address, backing.partitions + 1, group=f"other-{scene.group}")
        with pytest.raises(Faults, match=f"{backing.partitions + 1} partitions, and with {backing.partitions} before"):
            bus.mount(Recorder(other, lambda: None), schema={})
        none = stream(f"{scene.address}.none", 0)
        with pytest.raises(Faults, match="at least 1"):
            bus.mount(Recorder(none, lambda: None), schema={})


@promise
async def a_route_is_documented_with_its_schema(backing: Backing) -> None:
    async with Scene(backing) as scene:
        bus = scene.unopened(scene.recorder())
        document = json.loads(FastStream(bus.broker).schema.to_specification().to_json())
        assert document["asyncapi"].startswith("3.")
        [channel] = [item for item in document["channels"].values() if item["address"] == scene.address]
        [message] = [document["components"]["messages"][_last(ref["$ref"])] for ref in channel["messages"].values()]
        payload = document["components"]["schemas"][_last(message["payload"]["$ref"])]
        assert payload == msgspec.json.schema(Order)["$defs"]["Order"]
        assert channel["description"] == "Take an order."
        assert [op["action"] for op in document["operations"].values()] == ["receive"]


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
