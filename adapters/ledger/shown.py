"""How a row's raw parts are shown to people."""

from __future__ import annotations

from typing import Any

import msgspec


def value_of(raw: bytes | str | None) -> Any:
    """JSON as a value; what isn't JSON, or is nested too deeply to be read, as its text."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw if isinstance(raw, str) else raw.decode(errors="replace")
