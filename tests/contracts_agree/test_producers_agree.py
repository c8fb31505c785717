"""What the runtime publishes and keeps fits the committed schemas."""

from __future__ import annotations

import asyncio
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.bus.memory.bus import MemoryBus
from adapters.clock.manual import ManualClock
from contracts.errors import BadInput
from contracts.message import Delivery, Envelope
from contracts.module import Route
from runtime import commands
from runtime.emit import CollectingEmitter
from tests.conformance.bus_scene import Recorder
from tests.contracts_agree import schemas
from tests.contracts_agree.judging import as_we_read
from tests.contracts_agree.payloads import ANYTHING, PHASES, edgy, fitting

ROUTES = pytest.mark.parametrize("route", schemas.routes(), ids=lambda route: route.address)
SEVERAL = settings(max_examples=60, deadline=None, phases=PHASES)


def anything_of(type_: Any) -> st.SearchStrategy[Any]:
    """Any value of a type; a Struct's fields are each drawn alone."""
    if type_ is Any:
        return ANYTHING
    if isinstance(type_, types.UnionType):
        return st.one_of([anything_of(one) for one in typing.get_args(type_)])
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        hints = typing.get_type_hints(type_)
        return st.builds(type_, **{name: anything_of(hint) for name, hint in hints.items()})
    if type_ is datetime:
        return st.datetimes(timezones=st.just(UTC))
    if typing.get_origin(type_) in (Mapping, dict):
        return st.dictionaries(*map(anything_of, typing.get_args(type_)), max_size=3)
    return st.from_type(type_)


def envelope_of(route: Route, payload: Any) -> Envelope:
    return commands.envelope(route.address, payload, contract=route.contract, clock=ManualClock())


@ROUTES
@SEVERAL
@given(data=st.data())
def test_what_is_published_fits(route: Route, data: st.DataObject) -> None:
    schema = schemas.committed_for(f"{route.address}.json")
    message = msgspec.convert(data.draw(fitting(schema)), route.contract)
    as_we_read(schema).validate(json.loads(envelope_of(route, message).body))


@ROUTES
@SEVERAL
@given(data=st.data())
def test_what_does_not_fit_is_not_published(route: Route, data: st.DataObject) -> None:
    schema = schemas.committed_for(f"{route.address}.json")
    payload = data.draw(edgy(schema))
    if as_we_read(schema).is_valid(payload):
        assert json.loads(envelope_of(route, json.dumps(payload).encode()).body) == payload
    else:
        with pytest.raises(BadInput) as refusal:
            envelope_of(route, json.dumps(payload).encode())
        assert refusal.value.faults


async def emitted(route: Route, message: msgspec.Struct) -> list[Delivery]:
    """What arrives on the memory broker when a handler emits this."""
    clock = ManualClock()
    bus = MemoryBus(clock)
    recorder = Recorder(route, lambda: None)
    bus.mount(recorder, schema=schemas.committed_for(f"{route.address}.json"))
    await bus.open()
    await bus.start()
    try:
        emit = CollectingEmitter(clock, source_id="order-7", correlation_id="web:42")
        await emit(route.address, message, key="k")
        await bus.publish(*emit.collected())
        await clock.advance(0)
        return recorder.deliveries
    finally:
        await bus.close()


@ROUTES
@settings(max_examples=20, deadline=None, phases=PHASES)
@given(data=st.data())
def test_what_a_handler_emits_fits(route: Route, data: st.DataObject) -> None:
    schema = schemas.committed_for(f"{route.address}.json")
    message = msgspec.convert(data.draw(fitting(schema)), route.contract)
    [delivery] = asyncio.run(emitted(route, message), debug=True)
    assert (delivery.envelope.key, delivery.envelope.correlation_id) == ("k", "web:42")
    as_we_read(schema).validate(json.loads(delivery.envelope.body))


@pytest.mark.parametrize("address", schemas.results())
@SEVERAL
@given(data=st.data())
def test_what_a_job_returns_fits(address: str, data: st.DataObject) -> None:
    """Whatever its type can hold, as the ledger is given it."""
    schema = schemas.committed_for(f"results/{address}.json")
    result = msgspec.convert(data.draw(fitting(schema)), schemas.results()[address])
    as_we_read(schema).validate(json.loads(msgspec.json.encode(result)))


@pytest.mark.parametrize("value", schemas.VALUES, ids=lambda value: value.__name__)
@SEVERAL
@given(data=st.data())
def test_what_leaves_the_process_fits_and_is_read_back(value: type[msgspec.Struct], data: st.DataObject) -> None:
    schema = schemas.committed_for(f"values/{value.__name__}.json")
    made = data.draw(anything_of(value))
    encoded = msgspec.json.encode(made)
    as_we_read(schema).validate(json.loads(encoded))
    assert msgspec.json.decode(encoded, type=value) == made
