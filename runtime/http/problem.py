"""What every answer that is none looks like: a problem, as RFC 9457 has it.

Its `type` is left out, which stands for "the status says it all"; `faults` is a member of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

PROBLEM = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why not: `detail` is one line, `faults` has a line for each thing that is wrong with what was sent."""

    title: str
    status: int
    detail: str
    faults: list[str] = msgspec.field(default_factory=list)


def problem(status: int, detail: str, faults: Sequence[str] = ()) -> Problem:
    """With the title that the status has in RFC 9110."""
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, faults=list(faults))
