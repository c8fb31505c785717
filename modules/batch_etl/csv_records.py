"""One CSV record out of bytes, exactly as RFC 4180 has it.

A quote opens a quoted value only at the start of a field; elsewhere in an unquoted value it is a character like any
other. A quoted value ends at a quote that is not doubled, and the field must end there. When a quote is never
closed, or a row grows beyond the limit, only the line that it began in is given up: the next line is tried again.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True):
    """The fields of a row and where it ends; with a `fault` (grouped by `code`) there are no fields.

    `spans` says where each field stands, quotes included.
    """

    fields: list[bytes]
    end: int
    spans: list[tuple[int, int]] = []
    fault: str = ""
    code: str = ""


class Splitter:
    """Splits by one delimiter and one quote; a row longer than `limit` bytes is at fault."""

    def __init__(self, delimiter: str, quote: str, limit: int) -> None:
        self.delimiter = delimiter.encode()
        self.quote = quote.encode()
        self.limit = limit

    def record(self, data: bytes, start: int, *, last: bool) -> Record | None:
        """The record that begins at `start`; None when its end is not in `data` yet (never when `last`)."""
        end = self._line_end(data, start)
        if end - start > self.limit:
            return Record([], end, [], f"row is longer than {self.limit} bytes (max_row_bytes)", "too long")
        fields, spans, at = [], [], start
        while True:
            if data[at : at + 1] == self.quote:
                close = self._closing(data, at + 1, start + self.limit)
                if close < 0:
                    if start + self.limit > len(data) and not last:
                        return None
                    return Record([], end, [], "a quote is opened and never closed", "malformed quoting")
                fields.append(data[at + 1 : close].replace(self.quote * 2, self.quote))
                stop = close + 1
            else:
                stop = data.find(self.delimiter, at, self._line_end(data, at))
                if stop < 0:
                    stop = at + len(rstrip_line_end(data[at : self._line_end(data, at)]))
                fields.append(data[at:stop])
            spans.append((at, stop))
            if data[stop : stop + 1] == self.delimiter:
                at = stop + 1
            elif not rstrip_line_end(data[stop : self._line_end(data, stop)]):
                return Record(fields, self._line_end(data, stop), spans)
            else:
                what = "there is text between a closing quote and the delimiter"
                return Record([], end, [], what, "malformed quoting")

    def _line_end(self, data: bytes, start: int) -> int:
        return data.find(b"\n", start) + 1 or len(data)

    def _closing(self, data: bytes, start: int, limit: int) -> int:
        """The next quote that is not doubled, from `start` (inside a quoted value); -1 when there is none."""
        while (found := data.find(self.quote, start, limit)) >= 0:
            if data[found + 1 : found + 2] != self.quote:
                return found
            start = found + 2
        return -1


def rstrip_line_end(line: bytes) -> bytes:
    """The line without its line end."""
    return line.removesuffix(b"\n").removesuffix(b"\r")
