"""Following one message through everything that it sets off: in this process, in others, and in what they stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from contracts.ports.health import Checked

SpanKind = Literal["producer", "consumer", "client", "server"]
About = Mapping[str, str | int | float | bool]
"""Attributes, by the names of OpenTelemetry's semantic conventions where these have one."""


class Span(Protocol):
    """A piece of work that goes on."""

    def note(self, about: About) -> None:
        """What is known only now."""
        ...

    def fail(self, why: str) -> None:
        """It did not end well."""
        ...


class Traces(Checked, Protocol):
    """Never blocks and never raises: what can't be exported is dropped. `check` never fails."""

    def span(
        self, name: str, *, kind: SpanKind, of: Sequence[Mapping[str, str]] = (), about: About | None = None
    ) -> AbstractContextManager[Span]:
        """The work of the block, which becomes the current span. `of` are the headers of the messages that it comes of
        (W3C Trace Context): it goes on with the trace of a single one, and links to those of several."""
        ...

    def ended(self, name: str, *, kind: SpanKind, took_s: float, about: About | None = None, error: str = "") -> None:
        """A piece of the current span that has ended just now; nothing where there is no current span."""
        ...

    def headers(self) -> Mapping[str, str]:
        """What a message that is published now is to carry; empty outside of any span."""
        ...

    def ids(self) -> Mapping[str, str]:
        """`trace_id` and `span_id` of the current span, in hexadecimal; empty outside of any."""
        ...
