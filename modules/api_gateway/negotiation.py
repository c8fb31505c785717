"""Which of the forms that there are an `Accept` header asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from contracts.http import Refused

JSON = "application/json"
CSV = "text/csv"
NDJSON = "application/x-ndjson"

ASKED: Mapping[str, str] = {
    JSON: JSON,
    CSV: CSV,
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
}
"""What each is asked for as; the first one is what whoever takes anything gets."""


@functools.lru_cache(maxsize=32)
def chosen(accept: str | None) -> str:
    """The form that is liked best, of equals the first one here; raises `Refused` (406) when none is."""
    if accept is None or not accept.strip():
        return JSON
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    liked = {name: _quality(name, ranges) for name in ASKED}
    best = max(liked, key=lambda name: liked[name])
    if liked[best] <= 0:
        raise Refused(406, f"Accept: {accept[:200]!r} takes none of the forms that there are", [", ".join(ASKED)])
    return ASKED[best]


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(name: str, ranges: list[tuple[str, float]]) -> float:
    """That of the most exact range which it lies in."""
    for wanted in (name, f"{name.partition('/')[0]}/*", "*/*"):
        found = [quality for given, quality in ranges if given == wanted]
        if found:
            return max(found)
    return 0.0
