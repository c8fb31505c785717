"""Any value as something that can be printed: plain, bounded, and without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from itertools import islice
from typing import Any

import msgspec

from contracts.ports.secrets import Secret
from contracts.redaction import HIDDEN, names_a_secret, without_secrets

_MOST_CHARACTERS = 8_192
_MOST_ITEMS = 64
_DEEPEST = 6
_INT64 = 1 << 63


def printable(text: str, *, most: int = _MOST_CHARACTERS) -> str:
    """The text without secrets, cut to `most` characters, and encodable (a lone surrogate becomes its escape)."""
    if len(text) > most:
        # Cut before looking for secrets: what a value costs must not grow with its size. A little more is looked at
        # than shown, so that a secret at the cut is still recognised.
        text = f"{without_secrets(text[: most + 1024])[:most]}… (+{len(text) - most} characters)"
    else:
        text = without_secrets(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return text


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it; never raises, whatever it is.

    What isn't known is shown by its repr. Longer, wider and deeper than the bounds is cut, and says so.
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else _shown(value)
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, BaseException):
        return printable(f"{type(value).__name__}: {_text(value)}")
    return _compound(value, depth)


def _compound(value: Any, depth: int) -> Any:
    try:
        if isinstance(value, msgspec.Struct):
            value = {name: getattr(value, name) for name in value.__struct_fields__}
        if isinstance(value, Mapping):
            return plain_items(value, depth) if depth < _DEEPEST else f"({len(value)} entries, too deep to show)"
        if isinstance(value, list | tuple | set | frozenset):
            if depth >= _DEEPEST:
                return f"({len(value)} items, too deep to show)"
            items = [plain(item, depth + 1) for item in islice(value, _MOST_ITEMS)]
            return items if len(value) <= _MOST_ITEMS else [*items, f"… (+{len(value) - _MOST_ITEMS} items)"]
    except Exception as error:  # noqa: BLE001 - a value that breaks while it is looked at must not break its log line
        return f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
    return _shown(value)


def plain_items(items: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """A mapping with each value plain, and those whose key names a secret hidden."""
    shown: dict[str, Any] = {}
    for key, value in islice(items.items(), _MOST_ITEMS):
        name = printable(key if isinstance(key, str) else _text(key), most=256)
        hidden = names_a_secret(name) and value is not None and not isinstance(value, bool)
        shown[name] = HIDDEN if hidden else plain(value, depth + 1)
    if len(items) > _MOST_ITEMS:
        shown["…"] = f"+{len(items) - _MOST_ITEMS} entries"
    return shown


def _bytes(value: bytes | bytearray | memoryview) -> str:
    head = bytes(value[:_MOST_CHARACTERS])
    more = f"… (+{len(value) - len(head)} bytes)" if len(value) > len(head) else ""
    return printable(head.decode("utf-8", "backslashreplace")) + more


def _shown(value: Any) -> str:
    try:
        return printable(repr(value))
    except Exception as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"
