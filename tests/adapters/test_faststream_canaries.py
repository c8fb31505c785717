"""FastStream's internals that the buses stand on: what is imported, its shape, and how it behaves.

FastStream is pinned to one minor version. When the pin is raised and something here fails, the name of the test says
which seam moved; look at its users in `adapters/bus/` before changing what is expected.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from faststream import AckPolicy, BaseMiddleware, FastStream
from faststream.message import StreamMessage
from faststream.response.response import PublishCommand

from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.bus import MemoryBus
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.message import Received
from adapters.clock.manual import ManualClock
from contracts.message import Delivery, Envelope, Partition

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
INTERNAL = "faststream._internal"

SEAMS: dict[str, dict[str, dict[str, list[str]]]] = {
    "broker": {
        "BrokerUsecase": {
            "__init__": ["config", "specification", "routers"],
            "_basic_publish": ["cmd", "producer"],
            "_basic_request": ["cmd", "producer"],
            "_connect": [],
            "connect": [],
            "start": [],
            "stop": ["exc_type", "exc_val", "exc_tb"],
            "ping": ["timeout"],
            "subscribers": [],
            "middlewares": [],
        },
    },
    "broker.registrator": {
        "Registrator": {
            "subscriber": ["subscriber", "persistent"],
            "publisher": ["publisher", "persistent"],
            "include_router": ["router"],
            "add_middleware": ["middleware"],
        },
    },
    "broker.router": {
        "ArgsContainer": {"__init__": []},
        "BrokerRouter": {"__init__": ["config", "handlers", "routers"]},
        "SubscriberRoute": {"__init__": ["call", "publishers"]},
    },
    "configs": {
        "BrokerConfig": {
            "__init__": [
                "prefix",
                "include_in_schema",
                "broker_middlewares",
                "broker_parser",
                "broker_decoder",
                "broker_codec",
                "producer",
                "logger",
                "fd_config",
                "id_generator",
                "broker_dependencies",
                "graceful_timeout",
                "ack_policy",
                "extra_context",
            ]
        },
        "PublisherSpecificationConfig": {"__init__": ["title_", "description_", "include_in_schema", "schema_"]},
        "PublisherUsecaseConfig": {"__init__": ["_outer_config"]},
        "SubscriberSpecificationConfig": {"__init__": ["title_", "description_", "include_in_schema"]},
        "SubscriberUsecaseConfig": {"__init__": ["_outer_config", "no_reply", "_ack_policy"], "ack_policy": []},
    },
    "constants": {"EMPTY": {}},
    "context.repository": {"ContextRepo": {}},
    "di": {"FastDependsConfig": {"__init__": ["use_fastdepends", "provider", "serializer", "context"]}},
    "endpoint.publisher": {
        "PublisherSpecification": {"__init__": ["_outer_config", "specification_config"], "get_payloads": []},
        "PublisherUsecase": {
            "_basic_publish": ["cmd", "producer", "_extra_middlewares"],
            "_basic_request": ["cmd", "producer"],
            "_publish": ["cmd", "_extra_middlewares"],
        },
    },
    "endpoint.publisher.fake": {"FakePublisher": {"__init__": ["producer"], "patch_command": ["cmd"]}},
    "endpoint.subscriber": {
        "SubscriberSpecification": {
            "__init__": ["_outer_config", "specification_config", "calls"],
            "get_payloads": [],
            "get_schema": [],
            "channel_labels": [],
            "description": [],
            "call_name": [],
            "name": [],
        },
        "SubscriberUsecase": {
            "__init__": ["config", "specification", "calls"],
            "start": [],
            "stop": [],
            "consume": ["msg"],
            "process_message": ["msg"],
            "get_one": ["timeout"],
            "get_log_context": ["message"],
            "add_call": ["parser_", "decoder_", "dependencies_", "codec_"],
            "_post_start": [],
            "_get_parser_and_decoder": ["item_parser", "item_decoder"],
            "_make_response_publisher": ["message"],
            "_broker_middlewares": [],
        },
    },
    "endpoint.subscriber.call_item": {"CallsCollection": {"add_call": ["call"]}},
    "endpoint.utils": {
        "ParserComposition": {"__init__": ["custom_func", "default_func"]},
        "process_msg": {"__call__": ["msg", "middlewares", "parser", "decoder"]},
    },
    "logger": {
        "DefaultLoggerStorage": {"get_logger": ["context"], "_get_logger_ref": [], "register_subscriber": ["params"]},
        "make_logger_state": {"__call__": ["logger", "log_level", "default_storage_cls"]},
    },
    "logger.logging": {
        "get_broker_logger": {
            "__call__": ["name", "default_context", "message_id_ln", "fmt", "context", "log_level"],
        },
    },
    "parser": {
        "CodecProto": {"encode": ["msg", "serializer"]},
        "DefaultCodec": {"encode": ["msg", "serializer"]},
    },
    "producer": {"ProducerProto": {"publish": ["cmd"], "request": ["cmd"], "publish_batch": ["cmd"]}},
}
"""Module, name, member, and the parameters that we pass or override."""


def imported_internals() -> set[tuple[str, str, str]]:
    """File, module below `faststream._internal`, and name of every such import of the product."""
    found = set()
    for package in ("contracts", "adapters", "modules", "runtime", "migrations"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(INTERNAL):
                    module = (node.module or "").removeprefix(INTERNAL).removeprefix(".")
                    found |= {(str(path.relative_to(ROOT)), module, alias.name) for alias in node.names}
                elif isinstance(node, ast.Import):
                    assert not any(alias.name.startswith(INTERNAL) for alias in node.names), f"{path}: import names"
    return found


def test_the_pin_holds() -> None:
    assert version("faststream").startswith("0.7."), "look through every seam, then raise the pin here"


def test_internals_are_used_below_adapters_bus_only_and_each_has_a_canary() -> None:
    imported = imported_internals()
    assert imported
    assert not {file for file, _, _ in imported if not file.startswith("adapters/bus/")}
    known = {(module, name) for module, names in SEAMS.items() for name in names}
    assert {(module, name) for _, module, name in imported} == known, "a seam without a canary, or the reverse"


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in SEAMS.items() for name in names])
def test_a_seam_has_its_shape(module: str, name: str) -> None:
    seam = getattr(importlib.import_module(f"{INTERNAL}.{module}"), name)
    for member, parameters in SEAMS[module][name].items():
        found = seam if member == "__call__" else inspect.getattr_static(seam, member)
        if parameters:
            assert set(parameters) <= set(inspect.signature(found).parameters), f"{name}.{member}"


def test_public_names_that_we_extend_have_their_shape() -> None:
    parameters = inspect.signature(PublishCommand.__init__).parameters
    assert {"body", "_publish_type", "reply_to", "destination", "correlation_id", "headers"} <= set(parameters)
    parameters = inspect.signature(StreamMessage.__init__).parameters
    expected = {"raw_message", "body", "headers", "reply_to", "content_type", "correlation_id", "message_id"}
    assert expected <= set(parameters)


# --- behaviour ----------------------------------------------------------------------------------------------------


def broker_with(handler: Any, policy: AckPolicy, *middlewares: type[BaseMiddleware]) -> tuple[MemoryBroker, Any]:
    broker = MemoryBroker(MemoryLog(ManualClock()), middlewares=middlewares, logger=None)
    subscriber = broker.subscriber("seam", ack_policy=policy)
    subscriber(handler)
    return broker, subscriber


def raw(broker: MemoryBroker, body: bytes = b"1") -> Received:
    envelope = Envelope(id="m", address="seam", body=body, correlation_id="c")
    return Received(Delivery(envelope, Partition("seam", 0), 0), log=broker.log)


async def test_process_message_raises_and_consume_swallows() -> None:
    async def fail(number: int) -> None:
        raise ZeroDivisionError

    broker, subscriber = broker_with(fail, AckPolicy.MANUAL)
    await broker.start()
    with pytest.raises(ZeroDivisionError):
        await subscriber.process_message(raw(broker))
    assert await subscriber.consume(raw(broker)) is None
    await broker.stop()


async def test_a_message_that_a_middleware_keeps_is_no_error() -> None:
    class Keep(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            return None

    async def handle(number: int) -> None:
        raise AssertionError

    broker, subscriber = broker_with(handle, AckPolicy.MANUAL, Keep)
    await broker.start()
    await subscriber.process_message(raw(broker))
    await broker.stop()


@pytest.mark.parametrize(
    ("policy", "error", "settled"),
    [
        (AckPolicy.MANUAL, None, None),
        (AckPolicy.ACK, None, "ACKED"),
        (AckPolicy.NACK_ON_ERROR, ValueError, "NACKED"),
        (AckPolicy.REJECT_ON_ERROR, ValueError, "REJECTED"),
        (AckPolicy.NACK_ON_ERROR, asyncio.CancelledError, None),
    ],
)
async def test_ack_policies_settle_as_we_count_on(
    policy: AckPolicy, error: type[BaseException] | None, settled: str | None
) -> None:
    messages: list[Any] = []

    class Keep(BaseMiddleware):
        async def consume_scope(self, call_next: Any, msg: Any) -> Any:
            messages.append(msg)
            return await call_next(msg)

    async def handle(number: int) -> None:
        if error:
            raise error

    broker, subscriber = broker_with(handle, policy, Keep)
    await broker.start()
    try:
        await subscriber.process_message(raw(broker))
    except (ValueError, asyncio.CancelledError) as raised:
        assert type(raised) is error  # noqa: PT017 - the last row needs to catch a cancellation
    assert messages[0].committed == settled
    await broker.stop()


async def test_stop_waits_for_the_lock_that_running_messages_hold() -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def handle(number: int) -> None:
        began.set()
        await may_end.wait()

    broker, subscriber = broker_with(handle, AckPolicy.MANUAL)
    await broker.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(subscriber.process_message(raw(broker)))
        await began.wait()
        assert not subscriber.lock.empty
        may_end.set()
    assert subscriber.lock.empty
    await broker.stop()


async def test_subscribers_stay_registered_without_another_reference() -> None:
    import gc

    async def handle(number: int) -> None: ...

    broker, subscriber = broker_with(handle, AckPolicy.MANUAL)
    topic = subscriber.topic
    del subscriber
    gc.collect()
    assert [known.topic for known in broker.subscribers] == [topic]  # type: ignore[attr-defined]


async def test_start_is_called_on_every_subscriber_and_stop_too() -> None:
    async def handle(number: int) -> None: ...

    broker, subscriber = broker_with(handle, AckPolicy.MANUAL)
    assert not subscriber.running
    await broker.start()
    assert subscriber.running
    assert broker.running
    await broker.stop()
    assert not subscriber.running
    assert not broker.running


def test_definitions_of_a_payload_are_filed_among_the_components() -> None:
    schema = {
        "$ref": "#/$defs/Order",
        "$defs": {
            "Order": {"type": "object", "title": "Order", "properties": {"line": {"$ref": "#/$defs/Line"}}},
            "Line": {"type": "object", "title": "Line", "properties": {}},
        },
    }
    from tests.conformance.bus_scene import Recorder, stream

    bus = MemoryBus(ManualClock())
    bus.mount(Recorder(stream("orders", 1), lambda: None), schema=schema)
    bus.mount(Recorder(stream("orders.again", 1), lambda: None), schema=schema)
    document = json.loads(FastStream(bus.broker).schema.to_specification().to_json())
    schemas = document["components"]["schemas"]
    assert schemas["Order"]["properties"]["line"] == {"$ref": "#/components/schemas/Line"}
    assert set(schemas) == {"Order", "Line"}
    assert "$defs" not in json.dumps(document)
