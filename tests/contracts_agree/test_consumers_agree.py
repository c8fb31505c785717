"""A route's decoder takes a payload exactly when its committed schema does; where not, the difference stands here."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from adapters.bus.memory.bus import MemoryBus
from adapters.clock.manual import ManualClock
from contracts.errors import Undecodable
from contracts.message import Contract
from contracts.module import Module, Route
from runtime import commands
from runtime.pipeline import Mounted
from runtime.schema import schema_of
from tests.conformance.bus_scene import Recorder
from tests.contracts_agree import schemas
from tests.contracts_agree.judging import as_we_read, by_the_standard
from tests.contracts_agree.payloads import PHASES, edges, edgy, fitting

MANY = settings(max_examples=80, deadline=None, phases=PHASES)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Circle(Contract, frozen=True, tag="circle"):
    radius: Annotated[float, Meta(gt=0)]


class Square(Contract, frozen=True, tag="square"):
    side: Annotated[int, Meta(ge=1, le=9)]


class Everything(Contract, frozen=True):
    """Each kind of field that a message may have, whether or not a module has one today."""

    at: Annotated[datetime, Meta(tz=True)]
    day: date | None = None
    id: UUID | None = None
    name: Annotated[str, Meta(min_length=1, max_length=4)] = "x"
    code: Annotated[str, Meta(pattern=r"^[A-Z]{2}[0-9]{2}$")] = "AA00"
    count: Annotated[int, Meta(ge=0, le=10)] = 0
    share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    yes: bool = False
    colour: Colour = Colour.RED
    size: Literal["s", "m", 3] = "s"
    tags: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    pair: tuple[str, int] = ("", 0)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    shape: Circle | Square | None = None


def mounted(route: Route) -> Mounted:
    return Mounted(Module("contracts", kind="worker", summary="For the contract tests."), route, {}, {})


def sample() -> Route:
    module = Module("sample", kind="worker", summary="Takes everything.")

    @module.stream("sample.everything", Everything)
    async def take(message: Everything) -> None:
        """Take it."""

    return module.routes[0]


ROUTES = [*schemas.routes(), sample()]
EACH_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.address)


def schema_for(route: Route) -> dict[str, Any]:
    """The committed one; the sample has none."""
    return schema_of(Everything) if route.contract is Everything else schemas.committed_for(f"{route.address}.json")


def takes(route: Route, body: bytes) -> bool:
    try:
        message = mounted(route).decode(body)
    except Undecodable:
        return False
    return isinstance(message, route.contract)


@EACH_ROUTE
@MANY
@given(data=st.data())
def test_the_decoder_takes_what_the_schema_takes_and_nothing_else(route: Route, data: st.DataObject) -> None:
    schema = schema_for(route)
    payload = data.draw(edgy(schema))
    fits = as_we_read(schema).is_valid(payload)
    event(f"fits: {fits}")
    assert takes(route, json.dumps(payload).encode()) is fits


@EACH_ROUTE
@settings(max_examples=5, deadline=None, phases=PHASES)
@given(data=st.data())
def test_they_agree_at_every_edge_of_every_field(route: Route, data: st.DataObject) -> None:
    schema = schema_for(route)
    fits = as_we_read(schema)
    payload = data.draw(fitting(schema))
    for name, field in schema["properties"].items():
        for edge in edges(field):
            changed = {**payload, name: edge}
            assert takes(route, json.dumps(changed).encode()) is fits.is_valid(changed), (name, edge)


@EACH_ROUTE
@MANY
@given(data=st.data())
def test_the_decoder_takes_everything_that_fits(route: Route, data: st.DataObject) -> None:
    schema = schema_for(route)
    payload = data.draw(fitting(schema))
    as_we_read(schema).validate(payload)
    assert takes(route, json.dumps(payload).encode())


@EACH_ROUTE
@MANY
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_message_or_undecodable(route: Route, body: bytes) -> None:
    with contextlib.suppress(Undecodable):
        assert isinstance(mounted(route).decode(body), route.contract)


@EACH_ROUTE
def test_a_body_that_is_nested_too_deeply_is_undecodable(route: Route) -> None:
    with pytest.raises(Undecodable, match="deep"):
        mounted(route).decode(b"[" * 200_000)


async def journey(route: Route, sent: list[msgspec.Struct]) -> list[msgspec.Struct]:
    """What a consumer on the memory broker makes of these."""
    clock = ManualClock()
    bus = MemoryBus(clock)
    recorder = Recorder(route, lambda: None)
    bus.mount(recorder, schema=schema_for(route))
    await bus.open()
    await bus.start()
    try:
        for message in sent:
            await bus.publish(commands.envelope(route.address, message, contract=route.contract, clock=clock, key="k"))
        await clock.advance(0)
        return [mounted(route).decode(delivery.envelope.body) for delivery in recorder.deliveries]
    finally:
        await bus.close()


@EACH_ROUTE
@settings(max_examples=20, deadline=None, phases=PHASES)
@given(data=st.data())
def test_what_is_published_is_consumed_as_an_equal_value(route: Route, data: st.DataObject) -> None:
    payloads = data.draw(st.lists(fitting(schema_for(route)), max_size=4))
    sent = [msgspec.convert(one, route.contract) for one in payloads]
    assert asyncio.run(journey(route, sent), debug=True) == sent


def everything(fields: str) -> bytes:
    return b'{"at": "2026-01-05T10:00:00Z", %s}' % fields.encode()


DIFFERENCES = {
    "an integer with a fraction of zero": (
        everything('"count": 1.0'),
        "takes",
        "refuses",
        "1.0 is an integer to JSON Schema; here an integer is written as one, so that 9007199254740993.0 can't come "
        "in as another number",
    ),
    "a date that isn't one": (
        everything('"day": "2026-02-30"'),
        "takes",
        "refuses",
        "formats are annotations to JSON Schema; here they count",
    ),
    "an instant without its offset": (
        b'{"at": "2026-01-05T10:00:00"}',
        "takes",
        "refuses",
        "as before: it is no date-time of RFC 3339",
    ),
    "a uuid without hyphens": (
        everything('"id": "b3b1d1d27c2c4f2e8f3e1d2c3b4a5f6e"'),
        "takes",
        "takes",
        "no format says so, but no other uuid can be meant",
    ),
    "an offset without its colon": (
        b'{"at": "2026-01-05T10:00:00+0100"}',
        "takes",
        "takes",
        "ISO 8601 has it, RFC 3339 has not; no other instant can be meant",
    ),
    "a leap second": (
        b'{"at": "2016-12-31T23:59:60Z"}',
        "takes",
        "refuses",
        "RFC 3339 has it; neither Python nor PostgreSQL's timestamptz can hold it",
    ),
    "a field that is given twice, first wrong, then right": (
        everything('"count": "x", "count": 1'),
        "takes",
        "refuses",
        "readers of JSON keep the last of two; the decoder checks each",
    ),
    "a surrogate without its other half": (
        everything(r'"name": "\ud800"'),
        "takes",
        "refuses",
        "JSON's grammar allows it; it is no text, and nothing could store it",
    ),
}
"""Payload, what JSON Schema to the letter says, what the decoder does, and why."""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_known_difference_is_as_it_is_told(name: str) -> None:
    body, schema_says, decoder_says, _ = DIFFERENCES[name]
    said = {True: "takes", False: "refuses"}
    assert said[by_the_standard(schema_of(Everything)).is_valid(json.loads(body))] == schema_says
    assert said[takes(ROUTES[-1], body)] == decoder_says


@EACH_ROUTE
def test_every_instant_of_a_message_says_that_it_needs_an_offset(route: Route) -> None:
    """A `datetime` without `Meta(tz=True)` shows as any text, and lets in an instant that could be any of 24."""
    assert not untold_instants(route.contract)


def untold_instants(contract: type[msgspec.Struct]) -> list[str]:
    told = msgspec.inspect.type_info(contract)
    assert isinstance(told, msgspec.inspect.StructType)
    return [
        field.name
        for field in told.fields
        for branch in getattr(field.type, "types", (field.type,))
        if isinstance(branch, msgspec.inspect.DateTimeType) and branch.tz is not True
    ]
