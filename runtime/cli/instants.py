"""Instants as people give them on a command line: whole, or as so long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from contracts.errors import BadInput

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def instant(option: str, given: str, *, now: datetime) -> datetime:
    """`2026-01-15T08:00:00Z`, or `2h` for two hours before `now`; raises `BadInput`, which names the option."""
    try:
        if ago := _AGO.fullmatch(given):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(given)
        if at.tzinfo is not None:
            return at
    except (ValueError, OverflowError):
        pass
    raise BadInput(
        f"{option}: {given!r}; give an instant with its offset, such as 2026-01-15T08:00:00Z, or how long ago: "
        "90s, 15m, 2h, 3d, 1w"
    )
