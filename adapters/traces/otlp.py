"""The Traces port on OpenTelemetry, exported by OTLP over HTTP.

The SDK batches in a thread of its own: its queue is bounded, and drops what doesn't fit. What the environment says in
`OTEL_…` variables (headers of the export, size and pace of batches, attributes of the resource) holds as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.ports import traces as port
from contracts.ports.clock import Clock

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext, Tracer

LINKS_MAX = 128
"""Of a batch's messages: the first so many traces are named."""
EXPORT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
_KINDS = {
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}
_propagator = TraceContextTextMapPropagator()


class OtlpTraces:
    """Implements `Traces`. `endpoint` is the collector's address, such as http://collector:4318; `share` of the traces
    that begin here are kept, and all those that others began and keep."""

    def __init__(
        self, endpoint: str, *, clock: Clock, share: float = 1.0, service: str = "millrace", instance: str = ""
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint.rstrip("/")
        self._sampler = ParentBasedTraceIdRatio(share)
        self._resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = trace.NoOpTracer()

    @property
    def address(self) -> str:
        at = urlsplit(self._endpoint)
        return f"{at.scheme}://{at.netloc.rpartition('@')[2]}"

    async def open(self) -> None:
        if self._provider is None:
            self._provider = TracerProvider(resource=self._resource, sampler=self._sampler, shutdown_on_exit=False)
            exporter = OTLPSpanExporter(f"{self._endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_S)
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._provider.get_tracer("millrace")

    async def check(self) -> None:
        return

    async def close(self) -> None:
        """Sends what is left, for a moment."""
        if (provider := self._provider) is not None:
            self._provider, self._tracer = None, trace.NoOpTracer()
            with anyio.move_on_after(CLOSE_TIMEOUT_S):
                await anyio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: port.SpanKind,
        of: Sequence[Mapping[str, str]] = (),
        about: port.About | None = None,
    ) -> Iterator[port.Span]:
        parents = _distinct(of)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(parents[0])) if len(parents) == 1 else None
        links = [Link(found) for found in parents] if len(parents) > 1 else ()
        span = self._tracer.start_span(name, context=parent, kind=_KINDS[kind], attributes=about, links=links)
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield _OpenSpan(span)
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            context.detach(token)
            span.end()

    def ended(
        self, name: str, *, kind: port.SpanKind, took_s: float, about: port.About | None = None, error: str = ""
    ) -> None:
        if not trace.get_current_span().is_recording():
            return
        now_ns = int(self._clock.now().timestamp() * 1e9)
        span = self._tracer.start_span(name, kind=_KINDS[kind], attributes=about, start_time=now_ns - int(took_s * 1e9))
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(now_ns)

    def headers(self) -> Mapping[str, str]:
        carried: dict[str, str] = {}
        _propagator.inject(carried)
        return carried

    def ids(self) -> Mapping[str, str]:
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(current.trace_id), "span_id": trace.format_span_id(current.span_id)}


class _OpenSpan:
    """Implements `Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, about: port.About) -> None:
        self._span.set_attributes(about)

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why))


def _distinct(carried: Sequence[Mapping[str, str]]) -> list[SpanContext]:
    """The spans that these headers name, each once."""
    found: dict[str, SpanContext] = {}
    for headers in carried:
        named = headers.get("traceparent")
        if named is None or named in found:
            continue
        span = trace.get_current_span(_propagator.extract(headers, context.Context())).get_span_context()
        if span.is_valid:
            found[named] = span
            if len(found) == LINKS_MAX:
                break
    return list(found.values())
