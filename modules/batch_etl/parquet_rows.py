"""Parquet to rows. A row's line is its number, from 1; its text is a JSON object of its values.

Parquet is read from its end, so the file is kept on the local disk first; then it is read in small batches, whatever
the size of its row groups.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date
from datetime import time as DayTime
from typing import IO, TYPE_CHECKING, Any

import msgspec

from contracts.dataset import Column, Dataset
from contracts.errors import BadInput
from contracts.quarantine import Reason, mask_object
from modules.batch_etl.layouts import native
from modules.batch_etl.rows import Bad, Piece, Rows, match_columns

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BATCH_ROWS = 32 << 10
BATCH_BYTES = 8 << 20
"""A batch has at most so many rows, and of wide rows about so many bytes."""
BUFFER_BYTES = 1 << 20


class ParquetReader:
    """Reads one file; `feed` only keeps it."""

    def __init__(self, dataset: Dataset, path: str, *, scratch: str | None = None) -> None:
        self.dataset = dataset
        self.path = path
        self.row = 1
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - gone with the reader

    def feed(self, block: bytes) -> list[Piece]:
        self._file.write(block)
        return []

    def finish(self) -> Iterator[Piece]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._file.seek(0)
        try:
            with pq.ParquetFile(self._file, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
                at = match_columns(self.dataset, self.path, "schema", file.schema_arrow.names)
                wanted = sorted(at.values())
                names = [file.schema_arrow.names[index] for index in wanted]
                for batch in file.iter_batches(
                    batch_size=_rows_at_once(file.metadata), columns=names, use_threads=False
                ):
                    yield from self._batch(batch)
        except (pa.ArrowException, OSError) as error:
            place = f"after row {self.row - 1}" if self.row > 1 else "at its start"
            why = " ".join(str(error).split())[:300]
            raise BadInput(f"{self.path}, {place}: not a readable Parquet file: {why}") from None
        finally:
            self._file.close()

    def mask(self, raw: bytes) -> bytes:
        return mask_object(raw, [column.source_name for column in self.dataset.columns if column.personal])

    def _batch(self, batch: pa.RecordBatch) -> Iterator[Piece]:
        import polars as pl

        columns: list[pl.Series] = []
        broken: dict[int, list[Reason]] = {}
        for column in self.dataset.columns:
            if column.source_name in batch.schema.names:
                array = batch.column(batch.schema.get_field_index(column.source_name))
                columns.append(_series(column, array, self.path, broken))
            else:
                columns.append(pl.Series(column.name, [None] * batch.num_rows, dtype=pl.String))
        frame = pl.DataFrame(columns)
        lines = pl.int_range(self.row, self.row + batch.num_rows, dtype=pl.Int64, eager=True)
        self.row += batch.num_rows
        for index, reasons in broken.items():
            yield Bad(lines[index], reasons, self._text(frame, index))
        if broken:
            good = pl.Series([index not in broken for index in range(frame.height)], dtype=pl.Boolean)
            frame, lines = frame.filter(good), lines.filter(good)
        yield Rows(frame, lines, lambda index: self._text(frame, index))

    def _text(self, frame: pl.DataFrame, index: int) -> bytes:
        row = frame.row(index, named=True)
        return msgspec.json.encode({column.source_name: row[column.name] for column in self.dataset.columns})


def _rows_at_once(metadata: Any) -> int:
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    rows: int = BATCH_BYTES * metadata.num_rows // max(1, size)
    return max(1, min(BATCH_ROWS, rows))


def _series(column: Column, array: Any, path: str, broken: dict[int, list[Reason]]) -> pl.Series:
    """The column as its declared type is cast from: natively where the types say the same, else as text."""
    import polars as pl
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        if pa.types.is_nested(kind) and column.type not in ("json", "text"):
            raise BadInput(f"{path}: column {column.source_name!r} is {kind}: declare it as json, not {column.type}")
        return pl.Series(column.name, [_json(value) for value in array.to_pylist()], dtype=pl.String)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pl.Series(column.name, _decoded(column, array, broken), dtype=pl.String)
    if _is_text(kind):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:  # text that is not UTF-8
            return pl.Series(column.name, _decoded(column, array.cast(pa.large_binary()), broken), dtype=pl.String)
    if pa.types.is_decimal256(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        return pl.Series(column.name, [_text(value) for value in array.to_pylist()], dtype=pl.String)
    made = pl.Series(column.name, pl.from_arrow(array))
    if made.dtype == pl.String or native(column.type, made.dtype):
        return made
    if isinstance(made.dtype, pl.Datetime):
        return pl.Series(column.name, [_text(value) for value in made], dtype=pl.String)
    return made.cast(pl.String)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, enc_hook=str).decode()


def _text(value: Any) -> str | None:
    if isinstance(value, date | DayTime):
        return value.isoformat()
    return None if value is None else str(value)


def _decoded(column: Column, array: Any, broken: dict[int, list[Reason]]) -> list[str | None]:
    """Bytes as text; 16 of them, where a uuid is declared, as that uuid."""
    out: list[str | None] = []
    for index, value in enumerate(array.to_pylist()):
        if value is None:
            out.append(None)
        elif column.type == "uuid" and len(value) == 16:
            out.append(value.hex())
        else:
            try:
                out.append(value.decode())
            except UnicodeDecodeError as error:
                byte = f"byte 0x{value[error.start]:02x} at position {error.start} is not utf-8"
                broken.setdefault(index, []).append(Reason(column.name, "not utf-8", byte))
                out.append(value.decode("utf-8", "backslashreplace"))
    return out
