"""Quoting: every name and literal that gets into SQL text goes through here."""

from __future__ import annotations

from collections.abc import Iterable


def name(identifier: str) -> str:
    """An identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def names(identifiers: Iterable[str], *, of: str = "") -> str:
    """Identifiers with commas between; `of` is the alias of their table."""
    return ", ".join(f"{of}.{name(each)}" if of else name(each) for each in identifiers)


def table(qualified: str) -> str:
    """`table` or `schema.table`."""
    return ".".join(name(part) for part in qualified.split("."))


def literal(value: str) -> str:
    """A text literal, for DDL, which takes no parameters."""
    return (
        "'" + value.replace("'", "''") + "'"
        if "\\" not in value
        else "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    )
