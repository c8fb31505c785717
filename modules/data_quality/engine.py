"""What answers questions about tables: PostgreSQL, or DuckDB over the files of lakes."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from contracts.quality import CustomSql
from modules.data_quality.dialect import Dialect
from modules.data_quality.facts import Facts

Row = Mapping[str, Any]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A statement and its values."""

    sql: str
    values: tuple[Any, ...]


class Unanswered(Exception):
    """A question can't be answered as it is asked; the text says why. `late`: it took longer than it may."""

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


async def answered(asked: Awaitable[list[Row]]) -> list[Row] | Unanswered:
    """What there is to be said, of what can't be answered as well."""
    try:
        return await asked
    except Unanswered as error:
        return error


class Engine(Protocol):
    """Nothing that is asked can change anything, and all of it sees the table as of one moment. A question that can't
    be answered raises `Unanswered`, and leaves the engine as it was; what is no fault of it raises as ports do."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def name(self) -> str:
        """What the table is called in the statements."""
        ...

    async def facts(self) -> Facts | None:
        """None: there is no such table."""
        ...

    async def ask(self, sql: str, values: Sequence[Any]) -> list[Row]: ...

    async def ask_each(self, queries: Sequence[Query]) -> list[list[Row] | Unanswered]:
        """The answers in their order; some may be asked at the same time."""
        ...

    async def sample(self, check: CustomSql, sql: str, rows: int) -> list[dict[str, str | None]]:
        """Some rows of a user's query, each value as text, cut."""
        ...
