"""`datasets infer`: the first draft of a declaration, with what is doubtful explained in comments.

Types are tried from the narrowest to the widest on a bounded sample; a type is taken when it takes every value. The
draft is meant to be read: it says what was guessed, and never claims that a column has no nulls.
"""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import msgspec

from contracts.batch_etl import InferDataset
from contracts.dataset import Column, Dataset
from contracts.errors import BadInput
from contracts.ports import FileInfo, Files
from modules.batch_etl import sniff
from modules.batch_etl.draft import Guess, draft
from modules.batch_etl.nearby import OnDisk, located
from modules.batch_etl.scalar import Wrong, caster
from modules.batch_etl.sniff import SAMPLE_BYTES, Sniffed
from modules.batch_etl.source import Fingerprint, Streamed, blocks

NULLS = ("", "NULL", "null", "\\N", "NA", "N/A", "n/a", "NaN", "nan", "None", "-")
_DATE_FORMS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d")
_TIME_FORMS = ("%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S")

Note = str | Callable[[Sequence[str]], str]


async def infer(cmd: InferDataset, files: Files) -> str:
    """The draft's text. Raises `BadInput` when the file isn't there or has nothing to infer from."""
    sniffed = await _sniffed(cmd, files)
    tokens, mark = _tokens(sniffed), _decimal_mark(sniffed)
    guesses = [
        _column(name, [row[index] for row in sniffed.rows], tokens, mark, sniffed.kinds.get(name))
        for index, name in enumerate(sniffed.columns)
    ]
    return draft(cmd, sniffed, guesses, tokens, mark)


async def _sniffed(cmd: InferDataset, files: Files) -> Sniffed:
    info, place = await located(cmd.file, files)
    if not info.size_bytes:
        raise BadInput(f"{cmd.file} is empty: there is nothing to infer from")
    sniffed = await _looked_into(cmd, info, place)
    if isinstance(place, OnDisk):
        sniffed.doubts.append("the file is not under the files root: put it there, and mend `source`")
    return sniffed


async def _looked_into(cmd: InferDataset, info: FileInfo, place: Streamed) -> Sniffed:
    probe = Dataset(name="probe", table="probe", source=cmd.file, columns=(Column(name="probe"),))
    start = b""
    async with aclosing(blocks(place, info, probe, Fingerprint(), scratch=None)) as content:
        async for block in content:
            start += block
            if len(start) >= SAMPLE_BYTES:
                break
    form = sniff.format_of(cmd.file, start)
    if form == "parquet":
        return await _parquet(info.path, place, rows=cmd.rows)
    whole = len(start) < SAMPLE_BYTES
    if form == "jsonl":
        return _jsonl(cmd, start[:SAMPLE_BYTES], whole=whole)
    return sniff.csv(cmd.file, start[:SAMPLE_BYTES], rows=cmd.rows, whole=whole)


def _jsonl(cmd: InferDataset, start: bytes, *, whole: bool) -> Sniffed:
    lines = start.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not whole:
        lines.pop()
    objects: list[dict[str, msgspec.Raw]] = []
    wrong = 0
    for line in itertools.islice((line for line in lines if line.strip()), cmd.rows):
        try:
            objects.append(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            wrong += 1
    columns = list(dict.fromkeys(name for each in objects for name in each))
    if not columns:
        raise BadInput(f"{cmd.file}: there is no JSON object in it to infer anything from")
    rows = [[_json_text(each.get(name)) for name in columns] for each in objects]
    sniffed = Sniffed(format="jsonl", columns=columns, rows=rows)
    for name in columns:
        if any(bytes(each[name])[:1] in b"{[" for each in objects if name in each):
            sniffed.kinds[name] = "json"
        elif all(bytes(each[name])[:1] in b'"n' for each in objects if name in each):
            sniffed.kinds[name] = "string"
    if wrong:
        sniffed.doubts.append(f"{wrong} of {wrong + len(objects)} lines are not JSON objects; they are left out")
    return sniffed


def _json_text(raw: msgspec.Raw | None) -> str | None:
    text = b"null" if raw is None else bytes(raw)
    if text == b"null":
        return None
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode("utf-8", "replace")


async def _parquet(path: str, place: Streamed, *, rows: int) -> Sniffed:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as local:
        async for block in place.stream(path):
            local.write(block)
        local.seek(0)
        try:
            file = pq.ParquetFile(local)
            batch = next(file.iter_batches(batch_size=rows), None)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path}: not a readable Parquet file: {error}") from None
        schema = file.schema_arrow
    kinds: dict[str, str] = {}
    for field in schema:
        kinds[field.name] = _parquet_kind(field.type)
    texts: list[list[str | None]] = []
    if batch is not None:
        values = [column.to_pylist() for column in batch.columns]
        texts = [[None if value is None else str(value) for value in row] for row in zip(*values, strict=True)]
    return Sniffed(format="parquet", columns=list(schema.names), rows=texts, kinds=kinds)


def _parquet_kind(kind: Any) -> str:
    import pyarrow as pa

    types: Any = pa.types
    decimal = re.match(r"decimal\d+\((\d+), (\d+)\)", str(kind))
    if decimal:
        return f"decimal({decimal[1]},{decimal[2]})"
    told = {
        "int": types.is_integer,
        "float": types.is_floating,
        "bool": types.is_boolean,
        "date": types.is_date,
        "timestamp": types.is_timestamp,
        "json": types.is_nested,
    }
    return next((name for name, is_kind in told.items() if is_kind(kind)), "text")


def _tokens(sniffed: Sniffed) -> list[str]:
    """The null tokens that occur. A lone dash or nan only counts where the rest of its column has another shape."""
    if sniffed.format != "csv":
        return []
    found = {""}
    for index in range(len(sniffed.columns)):
        values = {row[index] for row in sniffed.rows if row[index]}
        odd = values & set(NULLS)
        if odd and len(values - odd) > 1:
            found |= {token for token in odd if token is not None}
    return sorted(found)


def _decimal_mark(sniffed: Sniffed) -> str:
    """A comma where numbers are written with one and none with a point."""
    if sniffed.format != "csv" or sniffed.delimiter == ",":
        return "."
    values = [value for row in sniffed.rows[:2000] for value in row if value]
    commas = sum(re.fullmatch(r"[+-]?\d+,\d+", value.strip()) is not None for value in values)
    points = sum(re.fullmatch(r"[+-]?\d+\.\d+", value.strip()) is not None for value in values)
    return "," if commas > points else "."


def _column(source: str, raw: Sequence[str | None], tokens: Sequence[str], mark: str, kind: str | None) -> Guess:
    values = [value for value in raw if value is not None and value not in tokens]
    guess = Guess(settings={"source": source})
    guess.unique = len(values) == len(raw) > 0 and len(set(values)) == len(values)
    if kind is not None and kind.startswith("decimal("):
        precision, scale = kind[8:-1].split(",")
        guess.settings |= {"type": "decimal", "precision": int(precision), "scale": int(scale)}
    elif kind is not None and kind != "string":
        guess.settings["type"] = kind
    elif not values:
        guess.settings["type"] = "text"
        guess.notes.append("no value in the sample: text takes anything")
    else:
        _take_type(guess, values, mark)
    guess.complete = len(values) == len(raw) > 0
    return guess


def _take_type(guess: Guess, values: Sequence[str], mark: str) -> None:
    for column, note in _candidates(values):
        cast = caster(column, decimal_mark=mark)
        try:
            cast_values = [cast(value) for value in values]
        except Wrong:
            continue
        guess.settings["type"] = column.type
        if column.format:
            guess.settings["format"] = column.format
        if column.type == "decimal":
            guess.settings |= _digits(cast_values, values, mark)
        if told := note(values) if callable(note) else note:
            guess.notes.append(told)
        return
    guess.settings["type"] = "text"


def _candidates(values: Sequence[str]) -> Iterator[tuple[Column, Note]]:
    """Types from the narrowest on, each with what is to be said when it is taken."""
    plain = [value.strip() for value in values]
    name = "c"
    if any(re.fullmatch(r"[+-]?0\d+", value) for value in plain):
        yield Column(name=name), "leading zeros: kept as text, so that they are not lost"
    words = {value.lower() for value in plain}
    if words <= {"true", "false", "t", "f", "yes", "no", "y", "n"}:
        yield Column(name=name, type="bool"), ""
    zero_one = "only 0 and 1 in the sample: it may be a bool" if words == {"0", "1"} else ""
    if all(len(value) == 8 for value in plain):
        yield Column(name=name, type="date", format="%Y%m%d"), "eight digits that are days: it may be an int"
    yield Column(name=name, type="int"), zero_one
    if not any("e" in value.lower() for value in plain):
        yield Column(name=name, type="decimal", precision=38, scale=18), ""
    yield Column(name=name, type="float"), ""
    yield Column(name=name, type="date"), ""
    if all(len(value) > 10 for value in plain):
        zone = any(re.search(r"[Zz]$|[+-]\d\d:?\d\d$", value) for value in plain)
        yield Column(name=name, type="timestamp"), "" if zone else "without an offset: read as UTC unless timezone says"
    for form in _DATE_FORMS:
        yield Column(name=name, type="date", format=form), functools.partial(_order_doubt, form)
    for form in _TIME_FORMS:
        yield Column(name=name, type="timestamp", format=form), functools.partial(_order_doubt, form)
    yield Column(name=name, type="uuid"), ""
    if all(value[:1] in "{[" for value in plain):
        yield Column(name=name, type="json"), ""


def _order_doubt(form: str, values: Sequence[str]) -> str:
    """Whether 03/04 may be the third of April as well as the fourth of March."""
    if not form.startswith("%d/%m") or any(int(value.strip().split("/")[0]) > 12 for value in values):
        return ""
    return "day or month first? no value tells: this takes the day first"


def _digits(numbers: Sequence[Decimal], texts: Sequence[str], mark: str) -> dict[str, object]:
    """Room for what was seen, and some more."""
    scale = max(2, *(len(text.strip().partition(mark)[2]) for text in texts))
    whole = max(number.adjusted() + 1 for number in numbers)
    return {"precision": min(38, max(12, whole + 3 + scale)), "scale": scale}
