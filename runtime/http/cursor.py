"""Where a page of jobs ended, as one word that a client hands back."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

import msgspec

from contracts.errors import BadInput

Place = tuple[datetime, str]
"""`recorded_at` and id of the last job that was seen."""


def written(place: Place) -> str:
    """Safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def read(word: str) -> Place:
    """Raises `BadInput` for what `written` did not make."""
    try:
        raw = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        at, job_id = msgspec.json.decode(raw, type=Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadInput("cursor: it is not one of ours; take `next` from the page before") from None
    if at.tzinfo is None:
        raise BadInput("cursor: it is not one of ours; take `next` from the page before")
    return at, job_id
