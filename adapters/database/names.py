"""Names of tables as callers write them, and as SQL wants them."""

from __future__ import annotations

import re

from contracts.errors import Permanent

_PART = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAME = re.compile(rf"{_PART}(?:\.{_PART})?")


def split(table: str) -> tuple[str | None, str]:
    """`schema.name` or `name` as (schema, name). Case and odd characters are kept as they are; a name with a dot or
    a quote in it stands in double quotes, inner ones doubled: `raw."orders.v2"`. Raises `Permanent`."""
    match = _NAME.fullmatch(table)
    if match is None or "\0" in table:
        raise Permanent(f'{table!r} is not the name of a table: expected name or schema.name, odd parts as "a.b"')
    parts = [quoted.replace('""', '"') if quoted else plain for quoted, plain in (match.group(1, 2), match.group(3, 4))]
    first, second = parts
    return (first, second) if second else (None, first)


def quote(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_table(table: str) -> str:
    """A table's name as SQL; raises `Permanent`."""
    schema, name = split(table)
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)
