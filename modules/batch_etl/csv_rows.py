"""CSV to rows, with exact line numbers.

Most of a file takes the fast way: Polars splits a whole chunk, and its result is accepted only when it is provably
one row a line with every field in its place. Where that can't be proved the chunk is tried in smaller pieces, and
a piece that fails is read record by record, exactly, so that one odd line costs little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contracts.dataset import CsvFormat, Dataset
from contracts.errors import BadInput
from contracts.quarantine import MASK, Reason
from modules.batch_etl.csv_records import Record, Splitter, rstrip_line_end
from modules.batch_etl.octets import Octets
from modules.batch_etl.rows import Bad, Piece, Rows, match_columns

if TYPE_CHECKING:
    import polars as pl

BOM = b"\xef\xbb\xbf"
CHUNK_BYTES = 4 << 20
PIECE_BYTES = 256 << 10
KEPT_BYTES = 16 << 10
"""How much of a row that is too long to be read is kept to be shown."""


class CsvReader:
    """Reads UTF-8 CSV (other encodings are turned into it before)."""

    def __init__(
        self, dataset: Dataset, path: str, *, chunk_bytes: int = CHUNK_BYTES, piece_bytes: int = PIECE_BYTES
    ) -> None:
        assert isinstance(dataset.format, CsvFormat)
        self.dataset = dataset
        self.form = dataset.format
        self.path = path
        self.chunk_bytes = chunk_bytes
        self.piece_bytes = piece_bytes
        self.splitter = Splitter(self.form.delimiter, self.form.quote, dataset.max_row_bytes)
        self.odd_quotes = OddQuotes(self.form.delimiter, self.form.quote)
        self.line = 1
        self.width = 0
        self.at: dict[str, int] = {}
        self._out: list[Piece] = []
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._begun = False
        self._giant: bytes | None = None
        self._header_due = self.form.header
        if not self.form.header:
            self.width = len(dataset.columns)
            self.at = {column.name: index for index, column in enumerate(dataset.columns)}

    def feed(self, block: bytes) -> list[Piece]:
        self._held.append(block)
        self._held_bytes += len(block)
        if self._held_bytes >= self.chunk_bytes:
            self._work(last=False)
        return self._taken()

    def finish(self) -> list[Piece]:
        self._work(last=True)
        if self._giant is not None:
            self._give_up_giant()
        if self._header_due:
            raise BadInput(f"{self.path}, line 1: there is no header line")
        return self._taken()

    def mask(self, raw: bytes) -> bytes:
        record = self.splitter.record(raw, 0, last=True)
        if record is None or record.fault or len(record.spans) != self.width:
            return MASK.encode()
        hidden = {self.at[column.name] for column in self.dataset.columns if column.personal and column.name in self.at}
        for index in sorted(hidden, reverse=True):
            start, stop = record.spans[index]
            raw = raw[:start] + MASK.encode() + raw[stop:]
        return raw

    def _taken(self) -> list[Piece]:
        out, self._out = self._out, []
        return out

    def _work(self, *, last: bool) -> None:
        if not self._begun and sum(map(len, self._held)) < len(BOM) and not last:
            return
        chunk, tail = self._lines()
        if not self._begun:
            chunk, tail = (chunk.removeprefix(BOM), tail) if chunk else (chunk, tail.removeprefix(BOM))
            self._begun = True
        if self._giant is not None:
            end = chunk.find(b"\n") + 1
            if not end:
                return
            self._give_up_giant()
            chunk = chunk[end:]
        if last and tail:
            chunk, tail = chunk + tail + b"\n", b""
        # What is longer than a row can be ends every row that is still open before it.
        full = len(tail) > self.dataset.max_row_bytes
        if chunk and self._header_due:
            chunk = self._header(chunk, last=last or full)
        if chunk and not self._header_due:
            chunk = self._chunk(chunk, last=last or full)
        if full and self._header_due:
            raise BadInput(f"{self.path}, line 1: no header line within {self.dataset.max_row_bytes} bytes")
        if full:
            self._giant = tail[:KEPT_BYTES]
        elif chunk or tail:
            self._held.append(chunk + tail)

    def _lines(self) -> tuple[bytes, bytes]:
        """What is held, as whole lines and what comes behind the last one's end; nothing is held any more."""
        last = self._held.pop() if self._held else b""
        cut = last.rfind(b"\n") + 1
        if not cut and self._held:
            last = b"".join((*self._held, last))
            self._held.clear()
            cut = last.rfind(b"\n") + 1
        # The lines are copied once: the block that they end in is large.
        chunk = b"".join((*self._held, memoryview(last)[:cut]))
        self._held.clear()
        self._held_bytes = 0
        return chunk, last[cut:]

    def _give_up_giant(self) -> None:
        assert self._giant is not None
        fault = f"row is longer than {self.dataset.max_row_bytes} bytes (max_row_bytes)"
        self._out.append(Bad(self.line, [Reason("", "too long", fault)], self._giant))
        self._giant = None
        self.line += 1

    def _header(self, chunk: bytes, *, last: bool) -> bytes:
        """Takes the header off and returns the rest; the whole chunk while the header's end has not come."""
        record = self.splitter.record(chunk, 0, last=last)
        if record is None:
            return chunk
        if record.fault:
            raise BadInput(f"{self.path}, line 1: the header can't be read: {record.fault}")
        try:
            names = [field.decode() for field in record.fields]
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.path}, line 1: the header is not {self.form.encoding}: {error.reason}") from None
        self.at = match_columns(self.dataset, self.path, "line 1", names)
        self.width = len(names)
        self._header_due = False
        self.line += chunk.count(b"\n", 0, record.end)
        return chunk[record.end :]

    def _chunk(self, chunk: bytes, *, last: bool) -> bytes:
        """Takes all whole rows of a chunk of whole lines and returns what an open quote leaves over."""
        if (frame := self._fast(chunk)) is not None:
            self._take(frame, chunk)
            return b""
        rest, at, size = b"", 0, len(chunk)
        while at < size:
            end = size
            if size - at > self.piece_bytes:
                end = chunk.rfind(b"\n", at, at + self.piece_bytes) + 1 or chunk.find(b"\n", at) + 1
            piece = rest + chunk[at:end]
            at = end
            if (frame := self._fast(piece)) is not None:
                self._take(frame, piece)
                rest = b""
            else:
                rest = self._slow(piece, last=last and at >= size)
        return rest

    def _fast(self, chunk: bytes) -> pl.DataFrame | None:
        """All fields as text, or None unless every line is one row with every field present."""
        import polars as pl

        if chunk.startswith(BOM):  # Polars would take it off at the start of any chunk
            return None
        octets = Octets(chunk)
        lines = octets.count("\n")
        if b"\r" in chunk and (octets.count("\r") != lines or chunk.count(b"\r\n") != lines):
            return None
        if self.width == 1 and (chunk[:1] in b"\r\n" or b"\n\n" in chunk or b"\n\r" in chunk):
            return None
        quoted = self.form.quote.encode() in chunk
        if quoted and self.odd_quotes.found_in(chunk):
            return None
        try:
            frame = pl.read_csv(
                chunk,
                has_header=False,
                schema={str(index): pl.String for index in range(self.width)},
                separator=self.form.delimiter,
                quote_char=self.form.quote,
                infer_schema=False,
                empty_string_is_null=False,
                extra_columns="raise",
                missing_columns="raise",
            )
        except pl.exceptions.PolarsError:  # a long row, broken UTF-8, an open quote
            return None
        if frame.height != lines:  # a line end inside quotes
            return None
        # Polars fills short rows up in silence; but then fewer delimiters stand outside of values than there must,
        # and as none can be too long (those raise) nothing makes up for it.
        inside = 0
        if quoted:
            counts = pl.all().str.count_matches(self.form.delimiter, literal=True).sum()
            inside = sum(frame.select(counts).row(0))
        delimiters = octets.count(self.form.delimiter)
        return frame if delimiters == inside + (self.width - 1) * lines else None

    def _take(self, frame: pl.DataFrame, chunk: bytes) -> None:
        import polars as pl

        lines = pl.int_range(self.line, self.line + frame.height, dtype=pl.Int64, eager=True)
        self.line += frame.height
        ends: list[pl.Series] = []

        def text(index: int) -> bytes:
            if not ends:
                ends.append(Octets(chunk).places("\n"))
            start = ends[0][index - 1] + 1 if index else 0
            return chunk[start : ends[0][index]].removesuffix(b"\r")

        self._out.append(Rows(self._named(frame), lines, text, nul=b"\0" in chunk))

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        return frame.select(
            pl.col(str(self.at[column.name])).alias(column.name)
            if column.name in self.at
            else pl.lit(None, dtype=pl.String).alias(column.name)
            for column in self.dataset.columns
        )

    def _slow(self, piece: bytes, *, last: bool) -> bytes:
        """Record by record; returns what an open quote at the end leaves over."""
        good: list[tuple[int, list[str], bytes]] = []
        at = 0
        while at < len(piece):
            if piece.startswith((b"\n", b"\r\n"), at):
                at = piece.find(b"\n", at) + 1
                self.line += 1
                continue
            record = self.splitter.record(piece, at, last=last)
            if record is None:
                break
            raw = piece[at : record.end]
            reasons, fields = self._fields(record)
            if reasons:
                self._out.append(Bad(self.line, reasons, rstrip_line_end(raw[:KEPT_BYTES])))
            else:
                good.append((self.line, fields, rstrip_line_end(raw)))
            self.line += raw.count(b"\n")
            at = record.end
        self._flush(good)
        return piece[at:]

    def _fields(self, record: Record) -> tuple[list[Reason], list[str]]:
        if record.fault:
            return [Reason("", record.code, record.fault)], []
        if len(record.fields) != self.width:
            fault = f"row has {len(record.fields)} fields, {self.width} expected"
            return [Reason("", "wrong number of fields", fault)], []
        fields, reasons = [], []
        for index, field in enumerate(record.fields):
            try:
                fields.append(field.decode())
            except UnicodeDecodeError as error:
                name = next((name for name, at in self.at.items() if at == index), "")
                byte = f"byte 0x{field[error.start]:02x} at position {error.start}"
                reasons.append(Reason(name, f"not {self.form.encoding}", f"{byte} is not {self.form.encoding}"))
        return reasons, fields

    def _flush(self, good: list[tuple[int, list[str], bytes]]) -> None:
        import polars as pl

        if not good:
            return
        columns = zip(*(fields for _, fields, _ in good), strict=True)
        frame = pl.DataFrame([pl.Series(str(index), column, dtype=pl.String) for index, column in enumerate(columns)])
        texts = [raw for _, _, raw in good]
        lines = pl.Series([line for line, _, _ in good], dtype=pl.Int64)
        self._out.append(Rows(self._named(frame), lines, texts.__getitem__))
        good.clear()


class OddQuotes:
    """An empty quoted value with text behind it: the one malformed thing that Polars reads without a word."""

    def __init__(self, delimiter: str, quote: str) -> None:
        d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
        behind = q + q + b"[^" + d + q + b"\r\n]"
        # Two patterns that each begin with a character of their own: one with both is fifty times as slow.
        self._in_line, self._at_start = re.compile(d + behind), re.compile(b"\n" + behind)
        self._empty_in_line, self._empty_at_start = (delimiter + quote * 2).encode(), ("\n" + quote * 2).encode()

    def found_in(self, chunk: bytes) -> bool:
        """Whether any line of the chunk has one."""
        if self._at_start.match(b"\n" + chunk[:4]):
            return True
        # Whether there is an empty quoted value at all is told at the speed of memory.
        in_line = self._empty_in_line in chunk and self._in_line.search(chunk)
        return bool(in_line or (self._empty_at_start in chunk and self._at_start.search(chunk)))
