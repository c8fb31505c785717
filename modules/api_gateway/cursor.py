"""Where a page ended, as one word that a client hands back: the values of its last row by which rows are sorted.

It names their order, so that it is refused with another one. It isn't signed: whoever makes one up gets rows that
they could have asked for anyway. Its values are checked as those of a filter are.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec


class _Cursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    sort: str
    place: tuple[str | None, ...]


def written(sort: Sequence[str], place: Sequence[str | None]) -> str:
    """Safe in a URL. `place` has a value, or None for null, for each of `sort`."""
    raw = msgspec.json.encode(_Cursor(",".join(sort), tuple(place)))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read(word: str, sort: Sequence[str]) -> tuple[str | None, ...]:
    """Raises `ValueError` for what `written` did not make for this order."""
    try:
        raw = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=_Cursor)
    except (binascii.Error, ValueError, RecursionError):
        raise ValueError("it is not one of ours") from None
    if found.sort != ",".join(sort) or len(found.place) != len(sort):
        raise ValueError("it is of another order")
    return found.place
