"""DuckDB over the files of lakes as what answers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from contracts import sql as text
from contracts.dataset import LAKE, Column
from contracts.errors import BadInput, Permanent
from contracts.ports import Catalog, Db, Files
from contracts.quality import CheckedTable, References, Suite
from modules.data_quality.asking import SHOWN
from modules.data_quality.dialect import DUCKDB, Dialect
from modules.data_quality.engine import Query, Row, Unanswered, answered
from modules.data_quality.facts import Facts, Family

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

MEMORY = "512MB"
"""What DuckDB holds at most; beyond that it goes to the directory that has the files."""

_FILES = """
select path, format, bytes from millrace.lake_files where lake = $1 and ($2::date is null or event_date = $2)
order by path
"""
_FAMILIES: dict[str, Family] = {
    "VARCHAR": "text",
    "TINYINT": "int",
    "SMALLINT": "int",
    "INTEGER": "int",
    "BIGINT": "int",
    "FLOAT": "float",
    "DOUBLE": "float",
    "DECIMAL": "decimal",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "TIMESTAMP": "naive",
    "UUID": "uuid",
}
_TYPES: Mapping[str, str] = {
    "int": "bigint",
    "float": "double",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}


def library() -> Any:
    """The package, which is an extra. Raises `Permanent` where it is missing."""
    try:
        import duckdb
    except ImportError:
        raise Permanent("lakes are looked at by DuckDB, which is not installed: install the extra `quality`") from None
    return duckdb


@asynccontextmanager
async def opened(
    table: CheckedTable, suite: Suite, *, db: Db, files: Files, catalog: Catalog, day: date | None
) -> AsyncIterator[Lakes]:
    """The lake, and those that it refers to, as tables of a database that is gone after the block. Their files are
    copied to a directory beside it, and nothing else can be read."""
    others = {check.to.removeprefix(LAKE) for check in table.checks if isinstance(check, References)} - {table.lake}
    with tempfile.TemporaryDirectory(prefix="millrace-quality-") as directory:
        lakes = Lakes(table.lake or "", Path(directory), timeout_s=suite.timeout_s)
        await lakes.open()
        try:
            await lakes.add(table.lake or "", day, db, files, catalog)
            for other in sorted(others):
                await lakes.add(other, None, db, files, catalog)
            await lakes.seal()
            yield lakes
        finally:
            await lakes.close()


class Lakes:
    """Implements `Engine` for one lake."""

    dialect: Dialect = DUCKDB

    def __init__(self, name: str, directory: Path, *, timeout_s: float) -> None:
        self.name = name
        self._directory = directory
        self._timeout_s = timeout_s
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._missing: set[str] = set()

    async def open(self) -> None:
        """Raises `Permanent` where DuckDB isn't installed."""

        def connect() -> duckdb.DuckDBPyConnection:
            connection = library().connect(str(self._directory / "lakes.duckdb"))
            connection.execute(f"set memory_limit = '{MEMORY}'")
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"set temp_directory = {text.literal(str(self._directory / 'spilled'))}")
            return connection  # type: ignore[no-any-return]

        self._connection = await asyncio.to_thread(connect)

    async def close(self) -> None:
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)

    async def add(self, lake: str, day: date | None, db: Db, files: Files, catalog: Catalog) -> None:
        """Make the lake's files a table. Raises `BadInput` where they don't fit on the disk, or one is gone."""
        found = await db.fetch(_FILES, lake, day)
        if not found:
            self._missing.add(lake)
            return
        size = sum(row["bytes"] for row in found)
        free = shutil.disk_usage(self._directory).free
        if size > free // 2:
            why = f"its {len(found)} files have {size:,} bytes, and {free:,} are free where temporary files go"
            raise BadInput(f"lake {lake}: {why} (TMPDIR): look at one date, or make room")
        copies: dict[str, list[str]] = {}
        for number, row in enumerate(found):
            copy = self._directory / f"{lake}-{number}.{row['format']}"
            await _copied(files, row["path"], copy)
            copies.setdefault(row["format"], []).append(str(copy))
        columns = () if set(copies) == {"parquet"} else catalog.event(lake).columns
        parts = [_reading(form, paths, columns) for form, paths in sorted(copies.items())]
        view = f"create view {text.name(lake)} as {' union all by name '.join(parts)}"
        await self._run(lambda connection: connection.execute(view))

    async def seal(self) -> None:
        """From here on nothing but the copies can be read, and nothing can be set."""

        def lock(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(f"set allowed_directories = [{text.literal(str(self._directory))}]")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")

        await self._run(lock)

    async def facts(self) -> Facts | None:
        if self.name in self._missing:
            return None
        described = await self._run(
            lambda connection: connection.execute(f"describe {text.name(self.name)}").fetchall()
        )
        return Facts(columns={row[0]: _FAMILIES.get(str(row[1]).partition("(")[0], "other") for row in described})

    async def ask(self, sql: str, values: Sequence[Any]) -> list[Row]:
        def asked(connection: duckdb.DuckDBPyConnection) -> list[Row]:
            answer = connection.execute(sql, list(values))
            names = [column[0] for column in answer.description or ()]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

        return await self._run(asked)

    async def ask_each(self, queries: Sequence[Query]) -> list[list[Row] | Unanswered]:
        """One after the other: DuckDB takes all cores for each."""
        return [await answered(self.ask(query.sql, query.values)) for query in queries]

    async def sample(self, check: object, sql: str, rows: int) -> list[dict[str, str | None]]:
        cut = f"left(columns(*)::varchar, {SHOWN})"
        return [dict(row) for row in await self.ask(f"select {cut} from (\n{sql}\n) as q limit $1", [rows])]  # noqa: S608 - the user's

    async def _run(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """In a thread, which ends soon after it is interrupted."""
        connection = self._connection
        assert connection is not None
        duck = library()
        running = asyncio.get_running_loop().run_in_executor(None, ask, connection)
        try:
            await asyncio.wait([running], timeout=self._timeout_s)
        finally:
            if not running.done():
                connection.interrupt()
                await asyncio.wait([running])
        try:
            return running.result()
        except duck.InterruptException:
            raise Unanswered(f"it did not end within {self._timeout_s:g} s (timeout_s)", late=True) from None
        except duck.Error as error:
            raise Unanswered(str(error).partition("\n")[0]) from None


async def _copied(files: Files, path: str, to: Path) -> None:
    with to.open("xb") as copy:
        try:
            async for chunk in files.stream(path):
                await asyncio.to_thread(copy.write, chunk)
        except FileNotFoundError:
            raise BadInput(f"{path} is in the manifest of its lake, and it is not there") from None


def _reading(form: str, paths: Sequence[str], columns: Sequence[Column]) -> str:
    """The rows of files of one format, with the types that the event declares where a file has none."""
    listed = f"[{', '.join(map(text.literal, paths))}]"
    if form == "parquet":
        return f"select * from read_parquet({listed}, union_by_name = true)"  # noqa: S608
    if form == "json":
        types = ", ".join(f"{text.literal(column.name)}: '{_type(column)}'" for column in columns)
        return f"select * from read_json({listed}, format = 'newline_delimited', columns = {{{types}}})"  # noqa: S608
    cast = ", ".join(
        f"cast({text.name(column.name)} as {_type(column)}) as {text.name(column.name)}" for column in columns
    )
    read = f"read_csv({listed}, header = true, all_varchar = true, union_by_name = true)"
    return f"select {cast} from {read}"  # noqa: S608


def _type(column: Column) -> str:
    if column.type == "decimal":
        return f"decimal({column.precision},{column.scale})"
    return _TYPES.get(column.type, "varchar")
