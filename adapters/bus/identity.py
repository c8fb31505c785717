"""Who a message is: what of its identity is kept when it comes from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.message import CORRELATION_ID, Envelope
from contracts.ports.clock import Clock

MESSAGE_ID_HEADERS = ("message-id", "ce-id", "message_id")
"""Where a producer that is not ours may have put the id; the first that is valid is taken."""

_safe = CORRELATION_ID.fullmatch


def message_id(headers: Mapping[str, str], clock: Clock) -> str:
    """The id that the producer gave, if it is safe in logs, else a fresh one."""
    for name in MESSAGE_ID_HEADERS:
        given = headers.get(name)
        if given and _safe(given):
            return given
    return clock.new_id()


def correlation_id(given: str | None, clock: Clock) -> str:
    """`given` if it matches `CORRELATION_ID` in full (it reaches logs and `application_name`), else a fresh one."""
    return given if given and _safe(given) else clock.new_id()


def identified(envelope: Envelope, clock: Clock) -> Envelope:
    """The envelope with an id, a correlation id and an instant that may be relied on; itself when it has them."""
    if _safe(envelope.id) and _safe(envelope.correlation_id) and envelope.published_at is not None:
        return envelope
    return msgspec.structs.replace(
        envelope,
        id=envelope.id if _safe(envelope.id) else message_id(envelope.headers, clock),
        correlation_id=correlation_id(envelope.correlation_id, clock),
        published_at=envelope.published_at or clock.now(),
    )


def text_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Headers as text: bytes are read as UTF-8 with the undecodable replaced, `None` is left out."""
    return {name: _text(value) for name, value in headers.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
