"""What PostgreSQL can keep: text without NUL or lone surrogates, JSON without their escapes, all of it bounded.

What people read (errors, headers, progress) is made to fit, since an ugly text must never keep a job from being
settled. What a handler reads back (results, checkpoints) is changed only where it could not be kept at all.
"""

from __future__ import annotations

import hashlib
import json as stdlib_json
import re
from collections.abc import Mapping

import msgspec

from contracts.errors import BadInput
from contracts.job import Progress
from contracts.ports.ledger import DeadLetter
from contracts.ports.states import NAME_LENGTH, PIECE_BYTES

TEXT_BYTES = 16 * 1024
"""Errors and tracebacks are cut to this."""
JSON_BYTES = 1024 * 1024
"""Results and checkpoints larger than this are refused."""
NAME_BYTES = 512
"""Ids, addresses and unique keys: they are index keys."""
LINE_BYTES = 1024
"""One line for people, such as a progress message."""

_CUT = " … "
_NUL_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_any_json = msgspec.json.Decoder(msgspec.Raw)


def text(value: str) -> str:
    """The same with U+FFFD for NUL and lone surrogates."""
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def cut(value: str, *, keep: int = TEXT_BYTES) -> str:
    """At most `keep` bytes; of a longer text its beginning and its end, for a traceback's last lines say the most."""
    if len(value) * 4 <= keep and value.isascii() and "\x00" not in value:
        return value
    value = text(value if len(value) <= 2 * keep else value[:keep] + value[-keep:])
    raw = value.encode()
    if len(raw) <= keep:
        return value
    half = (keep - len(_CUT.encode())) // 2
    return raw[:half].decode(errors="ignore") + _CUT + raw[-half:].decode(errors="ignore")


def name(value: str, *, what: str) -> str:
    """An id or address as it is; raises `BadInput`, since changing one would change what it names."""
    if value and len(value) <= NAME_BYTES // 4 and value.isascii() and "\x00" not in value:
        return value
    if not value or text(value) != value or len(value.encode()) > NAME_BYTES:
        raise BadInput(
            f"{what} {value[:80]!r} ({len(value)} characters) can't be kept: "
            f"use 1 to {NAME_BYTES} bytes of UTF-8 without NUL characters"
        )
    return value


def pieces(changes: Mapping[str, bytes | None]) -> None:
    """Raises `BadInput` for pieces of state that can't be kept."""
    faults = [
        f"piece {name[:80]!r}: use a name of 1 to {NAME_LENGTH} characters without NUL"
        for name in changes
        if not 0 < len(name) <= NAME_LENGTH or text(name) != name
    ]
    faults += [
        f"piece {name[:80]!r} has {len(data):,} bytes: save it in parts of at most {PIECE_BYTES:,}"
        for name, data in changes.items()
        if data is not None and len(data) > PIECE_BYTES
    ]
    if faults:
        raise BadInput(faults)


def key(value: str | None) -> str | None:
    """A unique key: what is too long or can't be kept stands as its digest, so that keys that differ stay different."""
    if value is None or (len(value) <= NAME_BYTES // 4 and text(value) == value):
        return value
    return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"


def json(value: bytes, *, what: str) -> str:
    """JSON as text; raises `BadInput` when it is too large, or is not JSON in UTF-8."""
    if len(value) > JSON_BYTES:
        raise BadInput(
            f"{what} has {len(value)} bytes of JSON and at most {JSON_BYTES} are kept: "
            "write it to a file or a table and keep its name"
        )
    if rb"\u" in value:
        value = _NUL_ESCAPE.sub(rb"\1\\ufffd", value)
        if _SURROGATE_ESCAPE.search(value):
            value = _without_lone_surrogates(value, what=what)
    try:
        _any_json.decode(value)
        return value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{what} is not JSON in UTF-8: {error}") from None


def headers(value: Mapping[str, str]) -> str:
    """Headers as a JSON object."""
    if not value:
        return "{}"
    return msgspec.json.encode({text(header): text(said) for header, said in value.items()}).decode()


def progress(value: Progress | None) -> str | None:
    """Progress as JSON, its message cut to a line's length."""
    if value is None:
        return None
    if value.message:
        value = msgspec.structs.replace(value, message=cut(value.message, keep=LINE_BYTES))
    return msgspec.json.encode(value).decode()


def letter(value: DeadLetter) -> DeadLetter:
    """A dead letter as it can be kept. Burying is the last resort, so nothing in it may be refused: what can't be an
    id or address stands as text that can."""
    return msgspec.structs.replace(
        value,
        id=cut(value.id, keep=NAME_BYTES),
        address=cut(value.address, keep=NAME_BYTES),
        group=cut(value.group, keep=NAME_BYTES),
        reason=cut(value.reason),
        error=cut(value.error),
        traceback=cut(value.traceback),
        key=None if value.key is None else cut(value.key),
        headers={text(header): text(said) for header, said in value.headers.items()},
        origin=cut(value.origin, keep=LINE_BYTES),
        correlation_id=cut(value.correlation_id, keep=NAME_BYTES),
    )


def _without_lone_surrogates(value: bytes, *, what: str) -> bytes:
    # Rare, so it may be slow: the standard library reads a lone surrogate, which msgspec and PostgreSQL refuse.
    try:
        return text(stdlib_json.dumps(stdlib_json.loads(value), ensure_ascii=False)).encode()
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{what} is not JSON: {error}") from None
