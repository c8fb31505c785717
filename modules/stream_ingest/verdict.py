"""Why a message was refused, in terms of its event's columns: what msgspec says, told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from contracts.dataset import Column
from contracts.quarantine import Reason

REFUSALS = (ValueError, RecursionError)
"""What the decoding of a message raises: msgspec's errors and those of UTF-8 are of the first kind."""

_PATH = re.compile(r" - at `\$\.([^`.\[]+)[^`]*`$")
_FIELD = re.compile(r"field `([^`]+)`")
_OWN = re.compile(r"([a-z_][a-z0-9_]*): ")
_CODES = (
    ("Object missing required field", "missing"),
    ("Object contains unknown field", "unknown field"),
    ("Invalid enum value", "not one of the choices"),
    ("Number out of range", "out of range"),
)


class Verdicts:
    """Of one event's columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = {column.source_name: column.name for column in columns}
        self._columns = frozenset(self._names.values())

    def reason(self, error: Exception) -> Reason:
        """What is wrong with the message whose decoding raised this."""
        if isinstance(error, UnicodeDecodeError):
            return Reason("", "not utf-8", f"byte 0x{error.object[error.start]:02x} is not utf-8")
        if isinstance(error, RecursionError):
            return Reason("", "not json", "it is nested too deeply")
        if not isinstance(error, msgspec.ValidationError):
            return Reason("", "not json", str(error))
        return self._of_column(str(error))

    def _of_column(self, said: str) -> Reason:
        if (at := _PATH.search(said)) is not None:
            return Reason(self._names.get(at[1], ""), _code(said), said[: at.start()])
        if (own := _OWN.match(said)) is not None and own[1] in self._columns:
            return Reason(own[1], "not allowed", said[own.end() :])
        if (field := _FIELD.search(said)) is not None:
            return Reason(self._names.get(field[1], ""), _code(said), said)
        return Reason("", "not the declared object", said)


def _code(said: str) -> str:
    for begins, code in _CODES:
        if said.startswith(begins):
            return code
    if said.startswith("Expected"):
        return "wrong type" if ", got " in said else "not allowed"
    return "not a value of its type"
