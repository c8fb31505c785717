"""Keys that can't be those of a row: told before anything is kept under them, because a window that can't be written
would stop its partition for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.aggregation import Aggregation
from contracts.event import Event

LARGEST_BYTES = 1000
"""Of the texts of a key together. PostgreSQL's indexes take some 2,700 bytes in all."""


def refuser_of(aggregation: Aggregation, event: Event) -> Callable[[Any], bool] | None:
    """Whether a key can't be used; None where the types of its columns let none be wrong."""
    columns = [event.column(name) for name in aggregation.key]
    if all(column.type != "text" and not (column.nullable and column.default is None) for column in columns):
        return None
    return _refuses if len(columns) > 1 else lambda key: _refuses((key,))


def _refuses(key: tuple[Any, ...]) -> bool:
    texts = [part for part in key if isinstance(part, str)]
    return (
        None in key
        or any("\0" in text for text in texts)
        or (sum(map(len, texts)) * 4 > LARGEST_BYTES and len("".join(texts).encode()) > LARGEST_BYTES)
    )


def text_of(aggregation: Aggregation, event: Event) -> Callable[[Any], int] | None:
    """How much text a key holds, which is what keys differ in by weight; None where there is none in any."""
    if all(event.column(name).type != "text" for name in aggregation.key):
        return None
    if len(aggregation.key) == 1:
        return lambda key: len(key)
    return lambda key: sum([len(part) for part in key if isinstance(part, str)])
