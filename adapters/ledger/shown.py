"""How a row's raw parts are shown to people."""

from __future__ import annotations

from typing import Any

import msgspec


def command_of(body: bytes) -> Any:
    """The command as a JSON value; a body that isn't JSON as text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
