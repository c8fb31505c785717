"""Where a trace begins: at what somebody outside publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contracts.ports import Traces


@contextmanager
def publishing(address: str, traces: Traces | None) -> Iterator[Mapping[str, str]]:
    """The block publishes a message to `address`, which is to carry these headers."""
    if traces is None:
        yield {}
        return
    about = {"messaging.destination.name": address, "messaging.operation.type": "send"}
    with traces.span(f"publish {address}", kind="producer", about=about):
        yield traces.headers()
