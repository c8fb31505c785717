"""What became of one attempt: a closed set of values, made in one place (`runtime/policy/retry.py`)."""

from __future__ import annotations

from typing import Any

import msgspec


class Done(msgspec.Struct, frozen=True, tag=True):
    """The handler returned; `result` is what it returned."""

    result: Any = None


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Try again after `after_s`; `counts` says whether this attempt is used up."""

    after_s: float
    counts: bool = True
    error: str = ""
    traceback: str = ""


class Dead(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Never again by itself: a job fails, a message goes to the dead letters. `result` is what a job came to that did
    its work, where that is the failure."""

    reason: str
    error: str = ""
    traceback: str = ""
    result: Any = None


class Cancelled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Someone asked for it to stop, and it stopped."""

    reason: str = ""


class Release(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Handed back unharmed (drain, lost lease, open breaker): no attempt is used up. `blocked`: until someone has done
    something."""

    reason: str
    after_s: float = 0.0
    blocked: bool = False


Outcome = Done | Retry | Dead | Cancelled | Release
