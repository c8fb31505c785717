"""PostgreSQL as what answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from contracts import sql as text
from contracts.errors import BadInput, MillraceError, Permanent, Transient
from contracts.ports import Db, Tx
from contracts.quality import Suite
from contracts.table import table_named
from modules.data_quality.asking import SHOWN
from modules.data_quality.dialect import POSTGRES, Dialect
from modules.data_quality.engine import Query, Row, Unanswered, answered
from modules.data_quality.facts import Facts, Family

T = TypeVar("T")

_FAMILIES: dict[str, Family] = {
    "text": "text",
    "character varying": "text",
    "character": "text",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "real": "float",
    "double precision": "float",
    "numeric": "decimal",
    "boolean": "bool",
    "date": "date",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "naive",
    "uuid": "uuid",
}
_SAME_SCHEMAS = """
select set_config('search_path', string_agg(quote_ident(name), ', ' order by place), true)
from unnest(current_schemas(false)) with ordinality as s (name, place)
"""
_CANCELLED = "57014"
_WRITES = "25006"
_DATA = "22"

Beside = Callable[[str], AbstractAsyncContextManager[Tx]]
"""Another transaction that sees the same moment, by the name that the first one told of it."""


@asynccontextmanager
async def reading(db: Db, suite: Suite, source: str, *, private: bool) -> AsyncIterator[Tables]:
    """In a transaction that can't write, as the suite's role where it has one."""
    async with _asked(db, suite, None) as tx:
        yield Tables(tx, source, lambda moment: _asked(db, suite, moment), timeout_s=suite.timeout_s, private=private)


@asynccontextmanager
async def _asked(db: Db, suite: Suite, at: str | None) -> AsyncIterator[Tx]:
    # A plan that is kept for any values reckons with none of them.
    settings = {"statement_timeout": f"{round(suite.timeout_s * 1000)}ms", "plan_cache_mode": "force_custom_plan"}
    async with db.reading(at=at, settings=settings) as tx:
        if suite.role is not None:
            await _take_role(tx, suite)
        yield tx


async def _take_role(tx: Tx, suite: Suite) -> None:
    """Names go on meaning the same tables: where they are looked for may depend on who asks."""
    await tx.fetch(_SAME_SCHEMAS)
    try:
        await tx.execute(f"set local role {text.name(suite.role or '')}")
    except Permanent as error:
        why = f"role {suite.role!r} can't be taken: {error}; make it, and grant it to the user that Millrace is"
        raise BadInput(f"suite {suite.name}: {why}") from None


class Tables:
    """Implements `Engine` for one table, within a transaction. `private`: what the server says of values may show
    personal ones."""

    dialect: Dialect = POSTGRES

    def __init__(self, tx: Tx, source: str, beside: Beside, *, timeout_s: float, private: bool) -> None:
        self.name = source
        self._tx = tx
        self._beside = beside
        self._timeout_s = timeout_s
        self._private = private

    async def facts(self) -> Facts | None:
        table = await self._answer(self._tx, table_named(self._tx, self.name))
        if table is None:
            return None
        key = next((unique.columns for unique in table.uniques if unique.is_primary), ())
        return Facts(
            columns={name: _family(column.type) for name, column in table.columns.items()},
            key=key,
            indexed=frozenset(unique.columns[0] for unique in table.uniques if len(unique.columns) == 1),
        )

    async def ask(self, sql: str, values: Sequence[Any]) -> list[Row]:
        return await self._ask(self._tx, sql, values)

    async def ask_each(self, queries: Sequence[Query]) -> list[list[Row] | Unanswered]:
        """On a second connection as well, for as long as there is one to be had: nobody waits for it."""
        left = deque(enumerate(queries))
        answers: dict[int, list[Row] | Unanswered] = {}

        async def ask_on(tx: Tx) -> None:
            while left:
                at, query = left.popleft()
                answers[at] = await answered(self._ask(tx, query.sql, query.values))

        async def help_out(moment: str) -> None:
            async with AsyncExitStack() as stack:
                try:
                    tx = await stack.enter_async_context(self._beside(moment))
                except MillraceError:
                    return  # no connection is free, or it leads to another server
                await ask_on(tx)

        if len(queries) == 1:
            await ask_on(self._tx)
        else:
            moment = await self._tx.fetch_value("select pg_export_snapshot()")
            try:
                async with asyncio.TaskGroup() as group:
                    helper = group.create_task(help_out(moment))
                    await ask_on(self._tx)
                    if len(answers) == len(queries):
                        helper.cancel()
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [answers[at] for at in range(len(queries))]

    async def sample(self, check: object, sql: str, rows: int) -> list[dict[str, str | None]]:
        cut = f"select json_object_agg(e.key, left(e.value, {SHOWN})) from json_each_text(row_to_json(q)) as e"  # noqa: S608
        found = await self.ask(f"select ({cut}) as row from (\n{sql}\n) as q limit $1", [rows])  # noqa: S608 - the user's
        return [row["row"] for row in found]

    async def _ask(self, tx: Tx, sql: str, values: Sequence[Any]) -> list[Row]:
        # Never `fetch_one`: it asks for one row, and then the server doesn't scan in parallel.
        return await self._answer(tx, tx.fetch(sql, *values))

    async def _answer(self, tx: Tx, asked: Awaitable[T]) -> T:
        """What the server refuses is undone, and raised as `Unanswered`."""
        try:
            async with tx.savepoint():
                answer = await asked
        except (Permanent, Transient) as error:
            if unanswered := self._unanswered(error):
                raise unanswered from None
            raise
        return answer

    def _unanswered(self, error: MillraceError) -> Unanswered | None:
        """None where it is no fault of the question."""
        code = getattr(error.__cause__, "sqlstate", None) or ""
        if code == _CANCELLED:
            return Unanswered(f"it did not end within {self._timeout_s:g} s (timeout_s)", late=True)
        if not isinstance(error, Permanent) and code != _WRITES:
            return None
        if code.startswith(_DATA) and self._private:
            why = "a value can't be used as the check uses it; it isn't shown, since columns are personal"
            return Unanswered(f"{why} (SQLSTATE {code})")
        return Unanswered(str(error))


def _family(type_: str) -> Family:
    return _FAMILIES.get(type_.partition("(")[0] + (type_.partition(")")[2] if "(" in type_ else ""), "other")
