"""PostgreSQL, DuckDB and a reading of the rules in plain Python come to the same numbers and verdicts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.database.postgres import PostgresDb
from contracts.data_quality import CheckResult
from contracts.quality import (
    AnyCheck,
    CheckedTable,
    Freshness,
    Nulls,
    Pattern,
    Range,
    References,
    RowChange,
    RowCount,
    Suite,
    Unique,
    Values,
    name_of,
)
from modules.data_quality.engine import Engine
from modules.data_quality.examining import Examination
from modules.data_quality.lakes import Lakes
from modules.data_quality.privacy import Declared, Privacy
from modules.data_quality.tables import reading

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]

DAY = date(2026, 1, 15)
AT = datetime(2026, 1, 16, tzinfo=UTC)
BEFORE = 4
COLUMNS = 'n bigint, f double precision, m decimal(12, 2), t text, d date, "at" timestamptz, b boolean'
NAMES = ("n", "f", "m", "t", "d", "at", "b")
OTHERS = (1, 2, 3)

Row = dict[str, Any]
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(0, 5),
    "f": st.sampled_from([0.0, -1.5, 2.25, 1e300, float("inf"), float("nan")]),
    "m": st.sampled_from([Decimal("0.00"), Decimal("1.50"), Decimal("-3.25"), Decimal("9999999.99")]),
    "t": st.sampled_from(["", "a", "ab", "A-1", "a\nb", "é", "éa-1", "abcd", "A-0001", "A-٣001", "a%", "'", "$1"]),
    "d": st.sampled_from([DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]),
    "at": st.sampled_from([datetime(2026, 1, 14, 23, 59, 59, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)]),
    "b": st.booleans(),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | cell for name, cell in CELLS.items()}), max_size=8)

LIMITS: dict[str, Any] = {
    "warn": st.none() | st.sampled_from(["when > 0", "when >= 25%", "when = 2"]),
    "fail": st.none() | st.sampled_from(["when > 2", "when > 50%", "when != 0"]),
}
PLAIN: dict[str, Any] = {
    "warn": st.none() | st.sampled_from(["when > 3", "when not between 2 and 5"]),
    "fail": st.sampled_from(["when < 1", "when > 6"]),
}
FILTERS: dict[str, Callable[[Row], bool | None]] = {
    "n > 1": lambda row: None if row["n"] is None else row["n"] > 1,
    "t is not null -- said": lambda row: row["t"] is not None,
    "d <> {date}": lambda row: None if row["d"] is None else row["d"] != DAY,
}
FILTER = st.none() | st.sampled_from(sorted(FILTERS))
PATTERNS = ["a", "[a-z]{4}", r"A-\d{4}", "[a-z]*", "a.b", r"A-\d", "(?:a|é)", "^a.*$", r"[^%]+", "'?"]
KEYS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple)


def checks() -> st.SearchStrategy[AnyCheck]:
    return st.one_of(
        st.builds(RowCount, filter=FILTER, **PLAIN),
        st.builds(RowChange, filter=FILTER, warn=LIMITS["warn"], fail=st.sampled_from(["when < 0", "when < -50%"])),
        st.builds(Nulls, column=st.sampled_from(NAMES), filter=FILTER, **LIMITS),
        st.builds(Unique, columns=KEYS, filter=FILTER, **LIMITS),
        st.builds(
            References,
            columns=st.just(("n",)),
            to=st.just("others"),
            to_columns=st.just(("id",)),
            filter=FILTER,
            **LIMITS,
        ),
        st.builds(Pattern, column=st.just("t"), pattern=st.sampled_from(PATTERNS), filter=FILTER, **LIMITS),
        st.builds(
            Values, column=st.just("t"), values=st.sampled_from([("a",), ("", "é", "$1")]), filter=FILTER, **LIMITS
        ),
        st.builds(Values, column=st.just("n"), values=st.just((1, 2.5, 4)), filter=FILTER, **LIMITS),
        st.builds(Values, column=st.just("b"), values=st.just((True,)), filter=FILTER, **LIMITS),
        st.builds(Range, column=st.just("n"), min=st.just(1.5), max=st.just(4), filter=FILTER, **LIMITS),
        st.builds(Range, column=st.just("f"), max=st.just(2), filter=FILTER, **LIMITS),
        st.builds(Range, column=st.just("m"), min=st.just("-3.25"), max=st.just(1.49), filter=FILTER, **LIMITS),
        st.builds(Range, column=st.just("d"), min=st.just("2026-01-15"), filter=FILTER, **LIMITS),
        st.builds(Range, column=st.just("at"), max=st.just("2026-01-14T23:59:59Z"), filter=FILTER, **LIMITS),
        st.builds(
            Freshness,
            column=st.sampled_from(["at", "d"]),
            filter=FILTER,
            warn=st.none() | st.just("when > 24h"),
            fail=st.sampled_from(["when > 1d", "when not between 0h and 36h"]),
        ),
    )


def named(made: Sequence[AnyCheck]) -> tuple[AnyCheck, ...]:
    return tuple(msgspec.structs.replace(check, name=f"c{at}") for at, check in enumerate(made))


TABLES = st.builds(
    CheckedTable,
    source=st.just("things"),
    checks=st.lists(checks(), min_size=1, max_size=6).map(named),
    filter=FILTER,
    partition_by=st.none() | st.sampled_from(["d", "at"]),
)

# The rules, read in Python.


def number(table: CheckedTable, check: AnyCheck, rows: Sequence[Row]) -> tuple[float | None, int | None]:
    def kept(row: Row) -> bool:
        if table.partition_by is not None:
            value = row[table.partition_by]
            if value is None or (value.date() if isinstance(value, datetime) else value) != DAY:
                return False
        return all(FILTERS[text](row) is True for text in (table.filter, check.filter) if text)

    rows = [row for row in rows if kept(row)]
    match check:
        case RowCount():
            return len(rows), None
        case RowChange():
            return len(rows) - BEFORE, BEFORE
        case Freshness():
            latest = [row[check.column] for row in rows if row[check.column] is not None]
            return (min(_age(value) for value in latest), None) if latest else (None, None)
        case Unique():
            keys = [
                tuple(map(repr, (row[name] for name in check.columns))) for row in rows if _whole(check.columns, row)
            ]
            return sum(count for count in Counter(keys).values() if count > 1), len(rows)
        case References():
            return sum(row["n"] is not None and row["n"] not in OTHERS for row in rows), len(rows)
        case Nulls():
            return sum(row[check.column] is None for row in rows), len(rows)
    values = [row[check.column] for row in rows if row[check.column] is not None]  # type: ignore[union-attr]
    return sum(map(_fails(check), values)), len(rows)


def _fails(check: Any) -> Callable[[Any], bool]:
    match check:
        case Pattern():
            return lambda value: re.fullmatch(check.pattern, value, re.DOTALL) is None
        case Values():
            return lambda value: value not in check.values
        case _:
            low, high = (_bound(check, given) for given in (check.min, check.max))
            # Not a number is above all numbers.
            return lambda value: (low is not None and value < low) or (high is not None and not value <= high)


def _bound(check: Range, given: Any) -> Any:
    if given is None:
        return None
    if check.column == "m":
        return Decimal(str(given))
    if check.column in ("d", "at"):
        return {"d": date, "at": datetime}[check.column].fromisoformat(given)
    return given


def _whole(columns: Sequence[str], row: Row) -> bool:
    return all(row[name] is not None for name in columns)


def _age(value: date) -> float:
    at = value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time(), UTC)
    return (AT - at).total_seconds()


def holds(limit: str | None, value: float, whole: int | None) -> bool:
    """Written apart from the reader that ships."""
    if limit is None:
        return False
    said = limit.removeprefix("when ")
    if percent := "%" in said:
        value = 100 * value / whole if whole else 0
    scale = {"h": 3600, "d": 86400, "%": 1}
    numbers = [float(text) * scale.get(unit, 1) for text, unit in re.findall(r"(-?[\d.]+)([hd%]?)", said)]
    assert percent or "%" not in said
    match said.split()[0]:
        case "not":
            return not numbers[0] <= value <= numbers[1]
        case ">":
            return value > numbers[0]
        case ">=":
            return value >= numbers[0]
        case "<":
            return value < numbers[0]
        case "=":
            return value == numbers[0]
    return value != numbers[0]


def expected(table: CheckedTable, check: AnyCheck, rows: Sequence[Row]) -> tuple[str, float | None, int | None]:
    value, of = number(table, check, rows)
    if value is None:
        return "error", None, None
    fail = check.fail or (None if check.warn or isinstance(check, RowCount | RowChange | Freshness) else "when > 0")
    verdict = "fail" if holds(fail, value, of) else "warn" if holds(check.warn, value, of) else "pass"
    return verdict, value, of


async def found(table: CheckedTable, engine: Engine) -> list[CheckResult]:
    before = {name_of(check): BEFORE for check in table.checks}
    suite = Suite(name="s", tables=(table,), samples=3)
    declared = Declared(privacy=Privacy())
    findings = await Examination(suite, table, declared, engine, day=DAY, at=AT, rows_before=before).findings()
    for finding in findings:
        if finding.rows_sql and finding.result.verdict in ("warn", "fail"):
            assert finding.sample or not finding.result.value, "failing rows are shown"
    return [finding.result for finding in findings]


@pytest.fixture
async def lakes(tmp_path: Path) -> AsyncIterator[Lakes]:
    made = Lakes("things", tmp_path, timeout_s=30)
    await made.open()
    await made.ask(f"create table things ({COLUMNS})", [])
    await made.ask("create table others (id bigint)", [])
    await made.ask("insert into others select unnest([1, 2, 3])", [])
    yield made
    await made.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(table=TABLES, rows=ROWS)
async def test_all_come_to_the_same(db: PostgresDb, lakes: Lakes, table: CheckedTable, rows: list[Row]) -> None:
    await db.execute(f"drop table if exists things, others; create table things ({COLUMNS})")
    await db.execute("create table others as select unnest(array[1, 2, 3]) as id")
    values = [tuple(row[name] for name in NAMES) for row in rows]
    await db.execute_many("insert into things values ($1, $2, $3, $4, $5, $6, $7)", values)
    await lakes.ask("delete from things", [])
    for one in values:
        await lakes.ask("insert into things values ($1, $2, $3, $4, $5, $6, $7)", one)
    wanted = [expected(table, check, rows) for check in table.checks]
    async with reading(db, Suite(name="s", tables=(table,)), "things", private=False) as tables:
        in_postgres = await found(table, tables)
    in_duckdb = await found(msgspec.structs.replace(table, checks=table.checks), lakes)
    for results in (in_postgres, in_duckdb):
        assert [(one.verdict, one.value, one.of) for one in results] == wanted, [one.why for one in results]
