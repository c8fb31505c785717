"""A collector of traces: takes what OTLP over HTTP sends, and keeps it to be looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # type: ignore[import-untyped,unused-ignore]
    ExportTraceServiceRequest,
)


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it arrived; ids in hexadecimal."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    """The spans that it links to."""
    about: dict[str, str]
    failed: str | None
    """Why it did not end well; None where it did."""


class Collector:
    """At `url` until the block of `collecting` ends."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Collected] = []

    def named(self, name: str) -> list[Collected]:
        return [span for span in self.spans if span.name == name]

    def within(self, outer: Collected) -> list[Collected]:
        return [span for span in self.spans if span.parent_id == outer.span_id]


@contextmanager
def collecting() -> Iterator[Collector]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            collector.spans += [
                _collected(span)
                for resource in taken.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _collected(span: Any) -> Collected:
    return Collected(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        about={one.key: str(getattr(one.value, one.value.WhichOneof("value"))) for one in span.attributes},
        failed=span.status.message if span.status.code == 2 else None,
    )
