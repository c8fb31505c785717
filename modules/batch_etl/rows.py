"""What a reader makes of a file: chunks of rows as columns, and rows that can't even be split into columns."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from contracts.dataset import Column, Dataset
from contracts.errors import BadInput
from contracts.quarantine import Reason

if TYPE_CHECKING:
    import polars as pl


class Rows:
    """Rows with a column of text, or of a Parquet type, for each declared one; in the order of the file.

    `lines` has the line (from 1) that each starts at, `text(i)` the bytes that row `i` was made from. `nul`: there may
    be a NUL character somewhere.
    """

    __slots__ = ("frame", "lines", "nul", "text")

    def __init__(
        self, frame: pl.DataFrame, lines: pl.Series, text: Callable[[int], bytes], *, nul: bool = True
    ) -> None:
        self.frame = frame
        self.lines = lines
        self.text = text
        self.nul = nul


class Bad:
    """A row that could not be split into columns."""

    __slots__ = ("line", "raw", "reasons")

    def __init__(self, line: int, reasons: list[Reason], raw: bytes) -> None:
        self.line = line
        self.reasons = reasons
        self.raw = raw


Piece = Rows | Bad


class Reader(Protocol):
    """One file of one format. Blocks of its bytes come in, in order; whole rows come out; bounded in between.

    Raises `BadInput`, naming file and place, when the file as a whole is not what was declared.
    """

    def feed(self, block: bytes) -> Iterable[Piece]: ...

    def finish(self) -> Iterable[Piece]: ...

    def mask(self, raw: bytes) -> bytes:
        """The text of a row that could be split, with the values of personal columns hidden."""
        ...


def match_columns(dataset: Dataset, path: str, place: str, found: Sequence[str]) -> dict[str, int]:
    """Where in a file each declared column stands, by source name; absent optional ones are left out.

    Raises `BadInput` with all that is missing, unknown or there twice.
    """
    at = {name: index for index, name in enumerate(found)}
    faults = [f"column {name!r} is there twice" for name in sorted({n for n in found if list(found).count(n) > 1})]
    wanted = {column.source_name: column for column in dataset.columns}
    missing = [column for name, column in wanted.items() if name not in at and not column.optional]
    extra = [name for name in at if name not in wanted]
    faults += [f"column {column.source_name!r} is missing{_meant(column, extra)}" for column in missing]
    if extra and dataset.extra_columns == "refuse":
        faults += [f"column {name!r} is not declared (extra_columns: ignore lets it pass)" for name in extra[:20]]
    if faults:
        shown = ", ".join(repr(name) for name in list(found)[:40])
        raise BadInput([f"{path}, {place}: {fault}" for fault in faults] + [f"{path} has the columns {shown}"])
    return {column.name: at[name] for name, column in wanted.items() if name in at}


def _meant(column: Column, extra: Sequence[str]) -> str:
    by_shape = {name.strip().lower().replace(" ", "_"): name for name in extra}
    shape = column.source_name.strip().lower().replace(" ", "_")
    near = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.75)
    return f" (is it {by_shape[near[0]]!r}?)" if near else ""
