"""What kind of file this is, from its first bytes: format, encoding, delimiter, header."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from contracts.errors import BadInput
from modules.batch_etl.csv_records import Splitter

SAMPLE_BYTES = 4 << 20
DELIMITERS = ",;\t|"
_PLAIN = re.compile(r"[+-]?[\d.,:/ -]*\d[\d.,:/TZ -]*")


class Sniffed(msgspec.Struct, kw_only=True):
    """A file's shape, and its first rows as texts by column. `doubts` explain what was guessed."""

    format: str
    columns: list[str]
    rows: list[list[str | None]]
    encoding: str = "utf-8"
    delimiter: str = ","
    header: bool = True
    kinds: dict[str, str] = msgspec.field(default_factory=dict)
    doubts: list[str] = msgspec.field(default_factory=list)


def format_of(path: str, start: bytes) -> str:
    """`parquet`, `jsonl` or `csv`, by content, then by name."""
    name = os.path.basename(path).lower()
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") or re.search(r"\.(jsonl|ndjson)\b", name):
        return "jsonl"
    return "csv"


def decoded(start: bytes) -> tuple[str, str, str]:
    """The text, its encoding, and a doubt about it if there is one."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return start.decode("utf-16", "ignore"), "utf-16", ""
    try:
        return start.decode("utf-8-sig"), "utf-8", ""
    except UnicodeDecodeError as error:
        if error.start > len(start) - 4:  # the sample ends within a character
            return start[: error.start].decode("utf-8-sig"), "utf-8", ""
        return start.decode("cp1252", "replace"), "cp1252", "it is not UTF-8; cp1252 is a guess, latin-1 is near"


def csv(path: str, start: bytes, *, rows: int, whole: bool) -> Sniffed:
    """The columns and first rows of a CSV file; raises `BadInput` when it has none."""
    text, encoding, doubt = decoded(start)
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    plain = text.encode()
    best = max(DELIMITERS, key=lambda delimiter: _regularity(_records(plain, delimiter, 200)))
    records = [record for record in _records(plain, best, rows + 1) if record]
    if not records:
        raise BadInput(f"{path}: there is no row in it to infer anything from")
    width = len(records[0])
    header = _is_header(records)
    columns = list(records[0]) if header else [f"column_{index + 1}" for index in range(width)]
    body = records[1:] if header else records
    regular: list[list[str | None]] = [list(record) for record in body if len(record) == width]
    sniffed = Sniffed(format="csv", columns=columns, rows=regular, encoding=encoding, delimiter=best, header=header)
    if doubt:
        sniffed.doubts.append(doubt)
    if not header:
        sniffed.doubts.append(
            "the first line looks like data, not like names: header: false, and the names are made up"
        )
    if len(regular) < len(body):
        sniffed.doubts.append(
            f"{len(body) - len(regular)} of {len(body)} rows don't have {width} fields; they are left out"
        )
    if width == 1:
        sniffed.doubts.append("there is one column only: is the delimiter none of , ; | and tab?")
    return sniffed


def _records(plain: bytes, delimiter: str, limit: int) -> list[list[str]]:
    splitter = Splitter(delimiter, '"', 1 << 20)
    found: list[list[str]] = []
    at = 0
    while at < len(plain) and len(found) < limit:
        record = splitter.record(plain, at, last=True)
        assert record is not None
        if plain[at : record.end].strip():
            found.append([field.decode("utf-8", "replace") for field in record.fields])
        at = record.end
    return found


def _regularity(records: Sequence[Sequence[str]]) -> tuple[float, int]:
    """How many rows have the width of most, if that is more than one; then the width."""
    widths = [len(record) for record in records]
    if not widths:
        return 0.0, 0
    usual = max(set(widths), key=widths.count)
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual


def _is_header(records: Sequence[Sequence[str]]) -> bool:
    """Names are all there, all different, and no numbers or dates."""
    first = records[0]
    if len(set(first)) < len(first) or any(not name.strip() or _PLAIN.fullmatch(name.strip()) for name in first):
        return False
    if len(records) == 1:
        return True
    # A row of words over rows of words could be either: names look like names.
    words = all(re.fullmatch(r"[^\W\d]\w*([ ._/()%#-]+\w+)*[ ()%.]*", name.strip()) for name in first)
    return words or any(
        _PLAIN.fullmatch(value.strip()) for record in records[1:20] for value in record if value.strip()
    )
