"""The numbered files: `versions/0001_ledger.up.sql` with its `0001_ledger.down.sql`.

Most are applied *before* the workers that need them start, while older ones go on: they only add. What older workers
can't bear (a column is dropped, a name changes) is named `0002_drop_it.after.up.sql` and `.after.down.sql`: it is
applied *after* the last worker that doesn't know it has ended.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from contracts.errors import Conflict, Faults

VERSIONS = Path(__file__).parent / "versions"
NO_TRANSACTION = "-- millrace: no-transaction"
"""As its first line: the file is one statement that can't be in a transaction (`create index concurrently if not
exists`). It is recorded after it ended, so it must bear being run again."""

Phase = Literal["before", "after"]

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)(\.after)?\.(up|down)\.sql")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered migration as its two files have it; `checksum` is that of the way up."""

    number: int
    name: str
    phase: Phase = "before"
    up: str
    down: str
    checksum: str

    @property
    def file(self) -> str:
        return f"{stem(self.number, self.name, self.phase)}.up.sql"


def stem(number: int, name: str, phase: Phase) -> str:
    """What the two files of a migration have in common."""
    return f"{number:04}_{name}{'.after' if phase == 'after' else ''}"


def read(directory: Path = VERSIONS) -> list[Script]:
    """All of them in order. Raises `Faults` for gaps, numbers given twice, strange names and missing halves."""
    halves: dict[tuple[int, str, Phase], dict[str, str]] = {}
    faults = []
    for path in sorted(directory.glob("*.sql")):
        if (match := _FILE.fullmatch(path.name)) is None:
            faults.append(f"{path.name}: expected NNNN_name.up.sql, NNNN_name.after.up.sql, or .down.sql")
            continue
        number, name, after, way = match.groups()
        halves.setdefault((int(number), name, "after" if after else "before"), {})[way] = path.read_text(
            encoding="utf-8"
        )
    counts = Counter(number for number, _, _ in halves)
    for (number, name, phase), ways in halves.items():
        faults.extend(f"{stem(number, name, phase)} has no .{way}.sql" for way in ("up", "down") if way not in ways)
        if counts[number] > 1:
            faults.append(f"{number:04}_{name}: the number {number:04} is given to {counts[number]} migrations")
    faults.extend(
        f"{number:04} is missing: the numbers go from 0001 up without a gap"
        for number in range(1, max(counts, default=0) + 1)
        if number not in counts
    )
    if faults:
        raise Faults(f"migrations in {directory}", faults)
    return [
        Script(number=number, name=name, phase=phase, up=ways["up"], down=ways["down"], checksum=checksum(ways["up"]))
        for (number, name, phase), ways in sorted(halves.items())
    ]


def checksum(sql: str) -> str:
    """The same for either kind of line ends."""
    return hashlib.sha256(sql.replace("\r\n", "\n").encode()).hexdigest()


def newest(directory: Path = VERSIONS) -> int:
    """The number of the newest one that this checkout knows; 0: there is none."""
    return max((script.number for script in read(directory)), default=0)


def new(name: str, *, phase: Phase = "before", directory: Path = VERSIONS) -> tuple[Path, Path]:
    """Make the two files of the next number. Raises `Faults` for a strange name, `Conflict` when they were made at
    the same moment."""
    if _NAME.fullmatch(name) is None:
        raise Faults("migration", [f"{name!r} is not a name: expected a-z, 0-9 and _, as in add_orders_index"])
    begins = stem(len(read(directory)) + 1, name, phase)
    up, down = (directory / f"{begins}.{way}.sql" for way in ("up", "down"))
    try:
        for path, what in ((up, "does"), (down, "undoes")):
            with path.open("x", encoding="utf-8") as file:
                file.write(f"-- What this migration {what}.\n")
    except FileExistsError as error:
        raise Conflict(f"{error.filename} was made by someone else just now") from error
    return up, down
