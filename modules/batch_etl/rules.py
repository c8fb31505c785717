"""What a value of each column must satisfy, and the exact verdict on one row: slow, complete, with every reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import compress
from typing import Any

from contracts.dataset import Column, CsvFormat, Dataset
from contracts.errors import Faults
from contracts.quarantine import MASK, Reason
from modules.batch_etl.scalar import SPACE, Cast, Wrong, caster, shown

Check = Callable[[Any, str], None]


class Rule:
    """One column's casts and checks. `lowest`, `highest`, `choices` and `default` are values of its type."""

    def __init__(self, column: Column, *, required: bool, tokens: Sequence[str], decimal_mark: str) -> None:
        self.column = column
        self.name = column.name
        self.required = required
        self.tokens = frozenset(tokens)
        self.cast = caster(column, decimal_mark=decimal_mark)
        self.cast_mark = decimal_mark
        plain = caster(column)
        found: list[str] = []
        self.default = _typed(plain, column, "default", found)
        self.lowest = _typed(plain, column, "min", found)
        self.highest = _typed(plain, column, "max", found)
        self.choices = tuple(_typed(plain, column, f"choices[{at}]", found) for at in range(len(column.choices)))
        self.pattern = re.compile(column.pattern) if column.pattern is not None else None
        self.day: date | None = None
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            found.append(f"columns.{column.name}.min: {column.min} is above max, {column.max}")
        if not found and self.default is not None:
            try:
                self.check(self.default, str(column.default))
            except Wrong as wrong:
                found.append(f"columns.{column.name}.default: {wrong.message}")
        self.faults = found

    def within(self, day: date) -> None:
        """Only values of this (UTC) day pass from now on."""
        self.day = day

    def day_bounds(self) -> tuple[Any, Any]:
        """From, included, to, excluded; as values of the column."""
        assert self.day is not None
        if self.column.type == "date":
            return self.day, self.day + timedelta(days=1)
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return start, start + timedelta(days=1)

    def is_null(self, text: str) -> bool:
        return text in self.tokens or (self.column.type not in ("text", "json") and text.strip(SPACE) in self.tokens)

    def judge(self, text: str | None) -> Any:
        """The value of the column for this text, or `Wrong`."""
        if text is None or self.is_null(text):
            if self.default is not None:
                return self.default
            if self.required:
                raise Wrong("missing value", "missing value in a column that is not nullable")
            return None
        value = self.cast(text)
        self.check(value, text)
        return value

    def check(self, value: Any, text: str) -> None:
        if self.choices and value not in self.choices:
            allowed = ", ".join(str(choice) for choice in self.column.choices[:12])
            raise Wrong("not one of the choices", f"{shown(text)} is not one of {allowed}")
        # NaN compares false with everything, so it is outside of any bounds.
        if self.lowest is not None and not value >= self.lowest:
            raise Wrong("below min", f"{shown(text)} is below min, {self.column.min}")
        if self.highest is not None and not value <= self.highest:
            raise Wrong("above max", f"{shown(text)} is above max, {self.column.max}")
        if self.column.max_length is not None and len(value) > self.column.max_length:
            raise Wrong("too long", f"{shown(text)} has {len(value)} characters, {self.column.max_length} are allowed")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise Wrong("pattern", f"{shown(text)} does not match the pattern {self.column.pattern}")
        if self.day is not None and value is not None:
            first, end = self.day_bounds()
            if not first <= value < end:
                raise Wrong("outside of the day", f"{shown(text)} is not within {self.day}, the day that is replaced")


class Rules:
    """All columns of a dataset; raises `Faults` with every default, choice and bound that is no value of its type."""

    def __init__(self, dataset: Dataset, *, day: date | None = None) -> None:
        declared = [f"{path}: {why}" for path, why in dataset.faults()]
        if declared:
            raise Faults(f"dataset {dataset.name}", declared)
        csv = dataset.format if isinstance(dataset.format, CsvFormat) else CsvFormat(null_tokens=())
        self.columns = [
            Rule(
                column,
                required=not column.nullable or column.name in dataset.key,
                tokens=csv.null_tokens,
                decimal_mark=csv.decimal_mark,
            )
            for column in dataset.columns
        ]
        faults = [fault for rule in self.columns for fault in rule.faults]
        if faults:
            raise Faults(f"dataset {dataset.name}", faults)
        if day is not None and dataset.partition_by is not None:
            partition = next(rule for rule in self.columns if rule.name == dataset.partition_by)
            partition.within(day)
            partition.required = True

    def values(self, row: Mapping[str, str | None]) -> tuple[Any, ...]:
        """The values of a row without faults, in order of declaration."""
        return tuple(rule.judge(row[rule.name]) for rule in self.columns)

    def faults(self, row: Mapping[str, str | None], suspect: Iterable[bool]) -> list[Reason]:
        """Everything that is wrong with a row, whose other columns than the suspect ones are known to be right."""
        reasons: list[Reason] = []
        for rule in compress(self.columns, suspect):
            try:
                rule.judge(row[rule.name])
            except Wrong as wrong:
                hidden = rule.column.personal and wrong.code != "missing value"
                message = f"{MASK} ({wrong.code})" if hidden else wrong.message
                reasons.append(Reason(rule.name, wrong.code, message))
        return reasons


def _typed(cast: Cast, column: Column, path: str, faults: list[str]) -> Any:
    field, _, index = path.rstrip("]").partition("[")
    declared = getattr(column, field)
    if index:
        declared = declared[int(index)]
    if declared is None:
        return None
    if column.type == "bool" and isinstance(declared, bool):
        return declared
    try:
        return cast(str(declared))
    except Wrong as wrong:
        faults.append(f"columns.{column.name}.{path}: {wrong.message}")
        return None
