"""Making a message out of what someone outside gave: on the command line, over HTTP, from a schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from contracts.errors import BadInput
from contracts.message import CORRELATION_ID, Envelope
from contracts.ports import Clock
from runtime import arguments

PRIORITY_MAX = 10_000
"""In both directions: a week of ageing, so that nobody can jump the line for good."""
DELAY_MAX_S = 10 * 366 * 86_400.0
KEY_BYTES = 512
HEADERS_MAX = 64
HEADERS_BYTES = 16 * 1024

_TOO_DEEP = "the message is nested too deeply"


def envelope(
    address: str,
    payload: bytes | Mapping[str, Any] | msgspec.Struct,
    *,
    contract: type[msgspec.Struct],
    clock: Clock,
    id: str | None = None,
    key: str | None = None,
    priority: int = 0,
    delay_s: float = 0.0,
    not_before: datetime | None = None,
    correlation_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Envelope:
    """A message that its route will understand; raises `BadInput` with every fault of payload and options.

    `payload` is JSON as bytes (kept as it is), plain data, or a Struct. Without `id` a fresh one is made; a caller
    who may repeat itself gives its own, and the repeat changes nothing. A correlation id that may not reach the logs
    is replaced by the message's id, as is a missing one.
    """
    faults = [
        *_id_faults(id),
        *_key_faults(key),
        *_time_faults(delay_s, not_before),
        *_header_faults(headers or {}),
    ]
    if not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        faults.append(f"priority: {priority}; it can be from -{PRIORITY_MAX} to {PRIORITY_MAX}")
    body = b""
    try:
        body = _body(payload, contract)
    except BadInput as error:
        faults.extend(error.faults)
    if faults:
        raise BadInput(faults)
    message_id = id or clock.new_id()
    now = clock.now()
    return Envelope(
        id=message_id,
        address=address,
        body=body,
        key=key,
        headers=dict(headers or {}),
        correlation_id=kept(correlation_id) or message_id,
        published_at=now,
        not_before=now + timedelta(seconds=delay_s) if delay_s else not_before,
        priority=priority,
    )


def kept(correlation_id: str | None) -> str | None:
    """An id from outside, if it may reach logs and `application_name`; else None."""
    return correlation_id if correlation_id and CORRELATION_ID.fullmatch(correlation_id) else None


def _body(payload: bytes | Mapping[str, Any] | msgspec.Struct, contract: type[msgspec.Struct]) -> bytes:
    """JSON that decodes as `contract`, by the very decoder that the route uses."""
    try:
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise BadInput(f"the message can't be written as JSON: {error}") from None
    try:
        msgspec.json.decode(body, type=contract)
    except msgspec.ValidationError as error:
        raise BadInput(_contract_faults(body, contract) or [str(error)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the message is not JSON: {error}") from None
    except RecursionError:
        raise BadInput(_TOO_DEEP) from None
    return body


def _contract_faults(body: bytes, contract: type[msgspec.Struct]) -> list[str]:
    try:
        return arguments.faults_of(contract, msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [f"the message is not JSON: {error}"]
    except RecursionError:
        return [_TOO_DEEP]


def _id_faults(id: str | None) -> list[str]:
    if id is None or CORRELATION_ID.fullmatch(id):
        return []
    return [f"id: {_shown(id)}; use 1 to 128 of the characters A-Z a-z 0-9 . _ : -"]


def _key_faults(key: str | None) -> list[str]:
    if key is None:
        return []
    if key and _is_text(key) and len(key.encode()) <= KEY_BYTES:
        return []
    return [f"key: {_shown(key)}; use 1 to {KEY_BYTES} bytes of UTF-8 without NUL characters"]


def _time_faults(delay_s: float, not_before: datetime | None) -> list[str]:
    faults = []
    if not (math.isfinite(delay_s) and 0 <= delay_s <= DELAY_MAX_S):
        faults.append(f"delay_s: {delay_s}; it can be from 0 to {DELAY_MAX_S:.0f} seconds")
    if not_before is not None and not_before.tzinfo is None:
        faults.append(f"not_before: {not_before.isoformat()}; say its offset, such as Z")
    if not_before is not None and delay_s:
        faults.append("give either delay_s or not_before, not both")
    return faults


def _header_faults(headers: Mapping[str, str]) -> list[str]:
    if len(headers) > HEADERS_MAX:
        return [f"headers: {len(headers)} of them; there can be {HEADERS_MAX}"]
    wrong = [name for name, value in headers.items() if not name or not _is_text(name) or not _is_text(value)]
    faults = [f"headers: {_shown(name)}; names and values are UTF-8 without NUL characters" for name in wrong]
    if faults:
        return faults
    size = sum(len(name.encode()) + len(said.encode()) for name, said in headers.items())
    return [f"headers: {size} bytes in all; there can be {HEADERS_BYTES}"] if size > HEADERS_BYTES else []


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
