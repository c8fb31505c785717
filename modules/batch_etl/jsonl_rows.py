"""JSON lines to rows. Every value is kept as it is written, so that numbers lose no digit on their way to the caster.

A JSON string is taken without its quotes; a number, true or false by its text; null, or a field that is absent, is
null. An object or an array is its JSON text, which a json or a text column takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.dataset import Dataset
from contracts.quarantine import Reason, mask_object
from modules.batch_etl.rows import Bad, Piece, Rows

BOM = b"\xef\xbb\xbf"
CHUNK_BYTES = 4 << 20
KEPT_BYTES = 16 << 10


class JsonlReader:
    """Reads UTF-8 lines (other encodings are turned into it before). Blank lines are no rows."""

    def __init__(self, dataset: Dataset, path: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.dataset = dataset
        self.path = path
        self.line = 1
        self.chunk_bytes = chunk_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._begun = False
        self._giant: bytes | None = None
        self._out: list[Piece] = []
        self._fields = [f"f{index}" for index in range(len(dataset.columns))]
        shape = msgspec.defstruct(
            "Row",
            [(field, msgspec.Raw, None) for field in self._fields],
            rename={f: column.source_name for f, column in zip(self._fields, dataset.columns, strict=True)},
            forbid_unknown_fields=dataset.extra_columns == "refuse",
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(shape)

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
        return self._taken()

    def mask(self, raw: bytes) -> bytes:
        return mask_object(raw, [column.source_name for column in self.dataset.columns if column.personal])

    def _taken(self) -> list[Piece]:
        out, self._out = self._out, []
        return out

    def _work(self, *, last: bool) -> None:
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if not self._begun:
            data = data.removeprefix(BOM)
            self._begun = True
        if self._giant is not None:
            end = data.find(b"\n") + 1
            if not end:
                return
            self._give_up_giant()
            data = data[end:]
        if last and data and not data.endswith(b"\n"):
            data += b"\n"
        cut = data.rfind(b"\n") + 1
        if cut:
            self._chunk(data[:cut])
        tail = data[cut:]
        if len(tail) > self.dataset.max_row_bytes:
            self._giant = tail[:KEPT_BYTES]
        elif tail:
            self._held.append(tail)

    def _give_up_giant(self) -> None:
        assert self._giant is not None
        self._out.append(Bad(self.line, [self._too_long()], self._giant))
        self._giant = None
        self.line += 1

    def _too_long(self) -> Reason:
        return Reason("", "too long", f"row is longer than {self.dataset.max_row_bytes} bytes (max_row_bytes)")

    def _chunk(self, chunk: bytes) -> None:
        """All lines at once when every one is a good object; else one by one."""
        lines = chunk.split(b"\n")
        lines.pop()
        try:
            chunk.decode()
            decoded = list(map(self._decoder.decode, lines))  # decode_lines would take two objects on one line
            if max(map(len, lines)) <= self.dataset.max_row_bytes:
                self._take([self._values(row) for row in decoded], range(self.line, self.line + len(lines)), lines)
                self.line += len(lines)
                return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        self._one_by_one(lines)

    def _one_by_one(self, lines: Sequence[bytes]) -> None:
        values, numbers, texts = [], [], []
        for line in lines:
            if line.strip():
                reason = self._too_long() if len(line) > self.dataset.max_row_bytes else None
                try:
                    if reason is None:
                        line.decode()
                        values.append(self._values(self._decoder.decode(line)))
                        numbers.append(self.line)
                        texts.append(line)
                except UnicodeDecodeError as error:
                    reason = Reason("", "not utf-8", f"byte 0x{line[error.start]:02x} at {error.start} is not utf-8")
                except RecursionError:
                    reason = Reason("", "not json", "row is nested too deeply")
                except msgspec.ValidationError as error:
                    reason = Reason("", "not the declared object", str(error))
                except msgspec.DecodeError as error:
                    reason = Reason("", "not json", str(error))
                if reason is not None:
                    self._out.append(Bad(self.line, [reason], line[:KEPT_BYTES].removesuffix(b"\r")))
            self.line += 1
        if values:
            self._take(values, numbers, texts)

    def _values(self, row: Any) -> list[str | None]:
        return [
            None if (raw := getattr(row, field)) is None else _text_of(bytes(raw), json=column.type == "json")
            for field, column in zip(self._fields, self.dataset.columns, strict=True)
        ]

    def _take(self, values: list[list[str | None]], lines: Sequence[int], texts: Sequence[bytes]) -> None:
        import polars as pl

        columns = zip(*values, strict=True)
        frame = pl.DataFrame(
            [
                pl.Series(column.name, list(texts_of), dtype=pl.String)
                for column, texts_of in zip(self.dataset.columns, columns, strict=True)
            ]
        )
        numbers = pl.Series(list(lines), dtype=pl.Int64)
        self._out.append(Rows(frame, numbers, lambda index: texts[index].removesuffix(b"\r")))


def _text_of(raw: bytes, *, json: bool) -> str | None:
    if raw == b"null":
        return None
    if json or not raw.startswith(b'"'):
        return raw.decode()
    if b"\\" not in raw:
        return raw[1:-1].decode()
    return msgspec.json.decode(raw, type=str)
