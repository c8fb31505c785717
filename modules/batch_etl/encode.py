"""Typed frames as the bytes of COPY.

Binary costs the server half of what text costs it, but the table's columns must have exactly the types that are sent.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from contracts.dataset import Column
from contracts.ports.database import CopyFormat

if TYPE_CHECKING:
    import polars as pl

SEND_ROWS = 32 << 10
SEND_BYTES = 4 << 20
"""A buffer has at most so many rows, and of wide rows about so many bytes."""
_AS_TEXT = ("json", "uuid")
"""Sent as text: what checked their values left them as text."""
_EMPTY = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
"""A binary COPY without rows: signature, flags, length of the extension, trailer."""


def encoded(
    frames: Iterator[pl.DataFrame], columns: Sequence[Column], *, exact: bool
) -> tuple[CopyFormat, Iterator[bytes]]:
    """The format, and buffers of a bounded size. `exact`: the table's columns have the declared types."""
    names = [column.name for column in columns]
    if exact and not any(column.type in _AS_TEXT for column in columns) and importlib.util.find_spec("pgpq"):
        return "binary", _binary(frames, names)
    return "csv", _csv(frames, names)


def _binary(frames: Iterator[pl.DataFrame], names: Sequence[str]) -> Iterator[bytes]:
    from pgpq import ArrowToPostgresBinaryEncoder

    encoder: ArrowToPostgresBinaryEncoder | None = None
    for frame in frames:
        table = frame.select(names).to_arrow()
        if encoder is None:
            encoder = ArrowToPostgresBinaryEncoder(table.schema)
            yield bytes(encoder.write_header())
        for batch in table.to_batches(max_chunksize=_rows_at_once(frame)):
            yield bytes(encoder.write_batch(batch))
    yield _EMPTY if encoder is None else bytes(encoder.finish())


def _csv(frames: Iterator[pl.DataFrame], names: Sequence[str]) -> Iterator[bytes]:
    """Null is an empty value, an empty text is quoted."""
    style: Literal["necessary", "never"] = "necessary"
    for frame in frames:
        some = _rows_at_once(frame)
        chosen = frame.select(names)
        if len(names) == 1 and str(chosen.dtypes[0]) == "String":
            # A lone \\. would end the data for servers before 18: a single column of text is always quoted.
            chosen, style = _quoted(chosen), "never"
        for at in range(0, chosen.height, some):
            out = io.BytesIO()
            chosen.slice(at, some).write_csv(
                out, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ", quote_style=style
            )
            yield out.getvalue()


def _quoted(texts: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    inner = pl.col(texts.columns[0]).str.replace_all('"', '""', literal=True)
    return texts.select(pl.concat_str(pl.lit('"'), inner, pl.lit('"')))


def _rows_at_once(frame: pl.DataFrame) -> int:
    return max(1, min(SEND_ROWS, SEND_BYTES * frame.height // max(1, int(frame.estimated_size()))))
