"""Parameters as the port has them (`$1`, `$2`, … in any order, each as often as you like), as CQL has them (`?`)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.errors import Permanent

# https://cassandra.apache.org/doc/latest/cassandra/developing/cql/definitions.html: what may have a $ or a ? in it that
# is no parameter comes first.
_TOKEN = re.compile(
    r"""
    '(?:[^']|'')*' | "(?:[^"]|"")*" | \$\$.*?\$\$   # text, names
    | --[^\n]* | //[^\n]* | /\*.*?\*/               # comments
    | \$(?P<number>[0-9]+) | (?P<mark>\?)
    """,
    re.VERBOSE | re.DOTALL,
)


class Parameters(msgspec.Struct, frozen=True):
    """`cql` has a `?` for each number of `order`, which says whose value stands there (the first is 0)."""

    cql: str
    order: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many values the statement takes."""
        return max(self.order, default=-1) + 1

    def values(self, args: Sequence[Any]) -> list[Any]:
        """One for each `?`. Raises `Permanent`: of one too few the driver would leave the column as it was."""
        if len(args) != self.count:
            raise Permanent(f"{len(args)} values came for a statement that takes {self.count}: {_start(self.cql)}")
        return [args[place] for place in self.order]


@functools.lru_cache(maxsize=500)
def parameters_of(sql: str) -> Parameters:
    """Raises `Permanent` for parameters that are written in another way."""
    order: list[int] = []

    def mark(found: re.Match[str]) -> str:
        if found["mark"]:
            raise Permanent(f"parameters are $1, $2 and so on, not ?: {_start(sql)}")
        if found["number"] is None:
            return found[0]
        if int(found["number"]) == 0:
            raise Permanent(f"parameters are $1, $2 and so on; the first is not $0: {_start(sql)}")
        order.append(int(found["number"]) - 1)
        return "?"

    return Parameters(_TOKEN.sub(mark, sql), tuple(order))


def _start(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 100 else f"{text[:100]}…"
