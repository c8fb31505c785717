"""Records as lines of JSON in one file, to which runs only ever add."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.history.record import Record

FILE = Path("benchmarks/results/history.jsonl")
"""Of this checkout, and not committed: figures of one machine say nothing about another one."""


class Kept(msgspec.Struct, frozen=True):
    """What a file holds, in the order in which it came, and a line in words for each that can't be read."""

    records: tuple[Record, ...]
    faults: tuple[str, ...]


def read(file: Path) -> Kept:
    """No file is an empty history. What can't be read is told and passed over: a run that was killed as it wrote, or a
    bad merge, must not cost the rest."""
    records, faults = [], []
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(msgspec.json.decode(line, type=Record))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            faults.append(f"{file}:{number} is passed over: {error}; delete the line to be rid of this")
    return Kept(tuple(records), tuple(faults))


def make(file: Path) -> None:
    """So that a place that can't be written to is told before anything is measured. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.open("ab").close()


def add(file: Path, record: Record) -> None:
    """In one write at the end, so that two sessions don't mix; what a killed one left unfinished stays a line alone."""
    make(file)
    with file.open("a+b") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 1))
        begins_anew = b"" if opened.read(1) in (b"", b"\n") else b"\n"
        opened.write(begins_anew + msgspec.json.encode(record) + b"\n")
