"""A schema's verdict, by an independent implementation of JSON Schema.

Where our decoder knowingly differs from the standard, `as_we_read` follows the decoder; each difference has a test of
its own in `test_consumers_agree.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from jsonschema.validators import extend

FORMATS = FormatChecker(formats=())
_FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or (_FULL_DATE.fullmatch(value) is not None and bool(date.fromisoformat(value)))


@FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    if not isinstance(value, str):
        return True
    found = _DATE_TIME.fullmatch(value)
    return found is not None and bool(date.fromisoformat(found[1]))


@FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _UUID.fullmatch(value) is not None


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
_Reading: Any = extend(Draft202012Validator, type_checker=_TYPES)  # type: ignore[no-untyped-call]


def by_the_standard(schema: Mapping[str, Any]) -> Validator:
    """JSON Schema 2020-12 to the letter: formats are annotations, and 1.0 is an integer."""
    return Draft202012Validator(schema)


def as_we_read(schema: Mapping[str, Any]) -> Validator:
    """The same, but formats count, and an integer is written without a fraction."""
    validator: Validator = _Reading(schema, format_checker=FORMATS)
    return validator
