"""COPY into a table: Python rows, or a stream of bytes that is already encoded."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adapters.database import names
from adapters.database.translation import DRIVER_ERRORS, is_lost, refused_copy
from contracts.errors import BadInput
from contracts.ports.database import CopyFormat

if TYPE_CHECKING:
    import asyncpg

    RawConnection = asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]


class _Rows:
    """Counts the rows that it hands on, and knows whether an error came out of the source itself."""

    def __init__(self, rows: Iterable[Sequence[Any]], *, width: int) -> None:
        self._rows = rows
        self._width = width
        self.at = 0
        self.broke: BaseException | None = None

    def __iter__(self) -> Iterator[Sequence[Any]]:
        try:
            for row in self._rows:
                self.at += 1
                if len(row) != self._width:
                    raise BadInput(f"row {self.at} has {len(row)} values for {self._width} columns")
                yield row
        except BaseException as error:
            self.broke = error
            raise


class _Chunks:
    """The same for a stream; closes a generator that the server left unfinished."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source
        self.broke: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source:
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            self.broke = error
            raise

    async def aclose(self) -> None:
        if (close := getattr(self._source, "aclose", None)) is not None:
            await close()


async def copy_rows(
    raw: RawConnection,
    table: str,
    rows: Iterable[Sequence[Any]],
    *,
    columns: Sequence[str],
    timeout_s: float,
    where: str,
) -> int:
    """All rows or none; how many. Raises `BadInput` with the row's number or the server's words."""
    schema, name = names.split(table)
    counted = _Rows(rows, width=len(columns))
    try:
        status = await raw.copy_records_to_table(
            name, schema_name=schema, columns=list(columns), records=counted, timeout=timeout_s
        )
    except DRIVER_ERRORS as error:
        if counted.broke is not None:  # of which the driver may have made another one
            raise counted.broke from None
        raise refused_copy(error, where=where, closed=is_lost(raw)) from error
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        # The driver's encoders raise what they come across; only the source's own errors are not about the data.
        if error is counted.broke:
            raise
        raise BadInput(f"row {counted.at} does not fit the columns of {table}: {error}") from error
    return affected(status)


async def copy_stream(
    raw: RawConnection,
    table: str,
    source: AsyncIterable[bytes],
    *,
    columns: Sequence[str],
    format: CopyFormat,
    freeze: bool,
    timeout_s: float,
    where: str,
) -> int:
    """All of the stream or nothing; how many rows. What the source raises goes through as it is."""
    schema, name = names.split(table)
    chunks = _Chunks(source)
    try:
        status = await raw.copy_to_table(
            name,
            schema_name=schema,
            columns=list(columns),
            source=chunks,
            format=format,
            freeze=freeze or None,
            timeout=timeout_s,
        )
    except DRIVER_ERRORS as error:
        if chunks.broke is not None:
            raise chunks.broke from None
        raise refused_copy(error, where=where, closed=is_lost(raw)) from error
    finally:
        await chunks.aclose()
    return affected(status)


def affected(status: str) -> int:
    """The number at the end of a command's tag: `INSERT 0 5` → 5, `CREATE TABLE` → 0."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0
