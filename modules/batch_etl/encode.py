"""Typed frames as the bytes of COPY.

Binary costs the server half of what text costs it, but the table's columns must have exactly the types that are sent.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from contracts.dataset import Column
from contracts.ports.database import CopyFormat
from modules.batch_etl.threads import each_in_thread

if TYPE_CHECKING:
    import polars as pl
    from pgpq import ArrowToPostgresBinaryEncoder

SEND_ROWS = 32 << 10
SEND_BYTES = 4 << 20
"""A buffer has at most so many rows, and of wide rows about so many bytes."""
_AS_TEXT = ("json", "uuid")
"""Sent as text: what checked their values left them as text."""
_EMPTY = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
"""A binary COPY without rows: signature, flags, length of the extension, trailer."""


class Encoder(Protocol):
    """Frames in, buffers of a bounded size out; `form` is their format."""

    form: CopyFormat

    def write(self, frame: pl.DataFrame) -> Iterator[bytes]: ...

    def end(self) -> bytes: ...


def encoder(columns: Sequence[Column], *, exact: bool) -> Encoder:
    """The cheapest that will do. `exact`: the table's columns have the declared types."""
    names = [column.name for column in columns]
    if exact and not any(column.type in _AS_TEXT for column in columns) and importlib.util.find_spec("pgpq"):
        return Binary(names)
    return Csv(names)


async def encoded(frames: AsyncIterator[pl.DataFrame], by: Encoder) -> AsyncGenerator[bytes]:
    """The bytes of all frames, made in threads."""
    async for frame in frames:
        async for piece in each_in_thread(by.write(frame)):
            yield piece
    if end := by.end():
        yield end


class Binary:
    """By pgpq."""

    form: CopyFormat = "binary"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._encoder: ArrowToPostgresBinaryEncoder | None = None

    def write(self, frame: pl.DataFrame) -> Iterator[bytes]:
        from pgpq import ArrowToPostgresBinaryEncoder

        table = frame.select(self.names).to_arrow()
        if self._encoder is None:
            self._encoder = ArrowToPostgresBinaryEncoder(table.schema)
            yield bytes(self._encoder.write_header())
        for batch in table.to_batches(max_chunksize=_rows_at_once(frame)):
            yield bytes(self._encoder.write_batch(batch))

    def end(self) -> bytes:
        return _EMPTY if self._encoder is None else bytes(self._encoder.finish())


class Csv:
    """Null is an empty value, an empty text is quoted."""

    form: CopyFormat = "csv"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def write(self, frame: pl.DataFrame) -> Iterator[bytes]:
        style: Literal["necessary", "never"] = "necessary"
        some = _rows_at_once(frame)
        chosen = frame.select(self.names)
        if len(self.names) == 1 and str(chosen.dtypes[0]) == "String":
            # A lone \\. would end the data for servers before 18: a single column of text is always quoted.
            chosen, style = _quoted(chosen), "never"
        for at in range(0, chosen.height, some):
            out = io.BytesIO()
            chosen.slice(at, some).write_csv(
                out, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ", quote_style=style
            )
            yield out.getvalue()

    def end(self) -> bytes:
        return b""


def _quoted(texts: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    inner = pl.col(texts.columns[0]).str.replace_all('"', '""', literal=True)
    return texts.select(pl.concat_str(pl.lit('"'), inner, pl.lit('"')))


def _rows_at_once(frame: pl.DataFrame) -> int:
    return max(1, min(SEND_ROWS, SEND_BYTES * frame.height // max(1, int(frame.estimated_size()))))
