"""Names, literals and types as SQL text: every one that gets into a statement goes through here."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.dataset import Column

_TYPES = {
    "text": "text",
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "json": "jsonb",
    "uuid": "uuid",
}


def name(identifier: str) -> str:
    """An identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def names(identifiers: Iterable[str], *, of: str = "") -> str:
    """Identifiers with commas between; `of` is the alias of their table."""
    return ", ".join(f"{of}.{name(each)}" if of else name(each) for each in identifiers)


def table(qualified: str) -> str:
    """`table` or `schema.table`."""
    return ".".join(name(part) for part in qualified.split("."))


def creation(qualified: str, lines: Iterable[str]) -> str:
    """The statements that make a table of these columns and constraints, and its schema where it isn't there."""
    made = f"create table {table(qualified)} ({', '.join(lines)})"
    schema, _, _ = qualified.rpartition(".")
    return f"create schema if not exists {name(schema)}; {made}" if schema else made


def literal(value: str) -> str:
    """A text literal, for DDL and settings, which take no parameters."""
    return (
        "'" + value.replace("'", "''") + "'"
        if "\\" not in value
        else "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    )


def column_type(column: Column) -> str:
    """The type of a declared column, as `format_type` writes it."""
    if column.type == "decimal":
        return f"numeric({column.precision},{column.scale})"
    return _TYPES[column.type]
