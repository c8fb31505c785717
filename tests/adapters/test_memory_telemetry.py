"""FastStream's own middlewares for metrics and traces, on the memory broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from faststream import BaseMiddleware
from prometheus_client import CollectorRegistry

from adapters.bus.memory.broker import MemoryBroker
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.prometheus import MemoryPrometheusMiddleware
from adapters.clock.manual import ManualClock
from tests.conformance.bus_scene import Scene
from tests.conformance.test_bus_memory import MemoryBacking

pytestmark = pytest.mark.anyio


class Ended(BaseMiddleware):
    """The outermost one: says when a message is through with all the others."""

    handled = asyncio.Event()

    async def after_processed(self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None) -> bool | None:
        type(self).handled.set()
        return False


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    event = asyncio.Event()
    monkeypatch.setattr(Ended, "handled", event)
    return event


def total(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"faststream_{name}_total", {"app_name": "shop", "broker": "memory", **labels})


async def test_prometheus_counts_a_native_handlers_messages(ended: asyncio.Event) -> None:
    registry = CollectorRegistry()
    counting = MemoryPrometheusMiddleware(registry=registry, app_name="shop")
    broker = MemoryBroker(MemoryLog(ManualClock()), middlewares=[Ended, counting], logger=None)

    @broker.subscriber("orders")
    async def take(number: int) -> None:
        if number == 2:
            raise ValueError("no such order")

    async with asyncio.timeout(10), broker:
        await broker.start()
        for number in (1, 2):
            ended.clear()
            await broker.publish(number, "orders")
            await ended.wait()
    assert total(registry, "received_messages", handler="orders") == 2
    assert total(registry, "received_processed_messages", handler="orders", status="acked") == 1
    assert total(registry, "received_processed_messages_exceptions", handler="orders", exception_type="ValueError") == 1
    assert total(registry, "published_messages", destination="orders", status="success") == 2


async def test_prometheus_counts_a_routes_messages() -> None:
    registry = CollectorRegistry()
    backing = MemoryBacking()
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        bus.broker.add_middleware(MemoryPrometheusMiddleware(registry=registry, app_name="shop"))
        await bus.open()
        await bus.start()
        await scene.publish(bus, 3)
        await scene.until(lambda: len(recorder.deliveries) == 3)
        await backing.quiet()
        assert total(registry, "received_messages", handler=scene.address) == 3
        assert total(registry, "received_processed_messages", handler=scene.address, status="acked") == 3
        assert total(registry, "published_messages", destination=scene.address, status="success") == 3


async def test_a_trace_goes_on_from_the_publisher_to_the_handler_and_to_the_route(ended: asyncio.Event) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed: install FastStream's `otel`")
    from opentelemetry.sdk.trace import TracerProvider  # type: ignore[import-not-found,unused-ignore]
    from opentelemetry.sdk.trace.export import (  # type: ignore[import-not-found,unused-ignore]
        SimpleSpanProcessor,
    )
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # type: ignore[import-not-found,unused-ignore]
        InMemorySpanExporter,
    )

    from adapters.bus.memory.opentelemetry import MemoryTelemetryMiddleware

    exporter, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    backing = MemoryBacking()
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = scene.unopened(recorder)
        bus.broker.add_middleware(Ended)
        bus.broker.add_middleware(MemoryTelemetryMiddleware(tracer_provider=tracing))
        await bus.open()
        await bus.start()
        await bus.publish(scene.envelope(b"{}", headers={"tenant": "blue"}))
        await scene.until(lambda: bool(recorder.deliveries))
        await ended.wait()
        assert "traceparent" in recorder.deliveries[0].envelope.headers
        assert recorder.deliveries[0].envelope.headers["tenant"] == "blue"
        address = scene.address
    spans = {span.name: span for span in exporter.get_finished_spans()}
    published, processed = spans[f"{address} publish"], spans[f"{address} process"]
    assert published.context.trace_id == processed.context.trace_id
    said = processed.attributes or {}
    assert (said["messaging.system"], said["messaging.message.payload_size_bytes"]) == ("memory", 2)


def test_who_wants_none_of_it_does_not_load_it() -> None:
    heavy = ("prometheus_client", "opentelemetry.sdk")
    code = f"import sys, adapters.bus.memory.bus; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout.strip() == "[]"
