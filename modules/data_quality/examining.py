"""The checks of one table: facts → ask → judge → sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from contracts.data_quality import CheckResult
from contracts.quality import AnyCheck, CheckedTable, CustomSql, Freshness, RowChange, RowCount, Suite, name_of
from modules.data_quality.asking import Asking
from modules.data_quality.dialect import readable
from modules.data_quality.engine import Engine, Query, Row, Unanswered
from modules.data_quality.facts import check_fault, table_fault
from modules.data_quality.judging import judged, result
from modules.data_quality.privacy import Declared


class Finding(msgspec.Struct, kw_only=True):
    """A check's result with its evidence. `rows` is how many there were for it to look at, where it counted them."""

    result: CheckResult
    rows: int | None = None
    sample: list[dict[str, str | None]] = []
    sql: str = ""
    rows_sql: str = ""


class Examination:
    """Of one table, on one date. `at` is the instant from which ages are told; `rows_before` is how many rows each
    check of change, by its name, counted at the run before: None at the first one."""

    def __init__(
        self,
        suite: Suite,
        table: CheckedTable,
        declared: Declared,
        engine: Engine,
        *,
        day: date | None,
        at: datetime,
        rows_before: Mapping[str, int | None],
    ) -> None:
        self._suite = suite
        self._table = table if table.key else msgspec.structs.replace(table, key=declared.key)
        self._privacy = declared.privacy
        self._engine = engine
        self._day = day
        self._at = at
        self._rows_before = rows_before

    async def findings(self) -> list[Finding]:
        """One for each check, in their order."""
        try:
            facts = await self._engine.facts()
        except Unanswered as error:
            return [self._error(check, str(error)) for check in self._table.checks]
        if facts is None:
            kind = "lake has no files" if self._table.lake else "table isn't there, or is out of reach"
            return [self._error(check, f"the {kind}") for check in self._table.checks]
        if why := table_fault(self._table, facts):
            return [self._error(check, why) for check in self._table.checks]
        known = tuple(name for name in self._table.key if name in facts.columns)
        table = msgspec.structs.replace(self._table, key=known)
        asking = Asking(table, facts, self._engine.dialect, name=self._engine.name, day=self._day)
        found: dict[int, Finding] = {}
        together: list[AnyCheck] = []
        for check in table.checks:
            if why := check_fault(check, facts):
                found[id(check)] = self._error(check, why)
            elif not isinstance(check, CustomSql):
                together.append(check)
        for check, finding in zip(together, await self._scanned(asking, together), strict=True):
            found[id(check)] = finding
        for check in table.checks:
            if id(check) not in found:
                assert isinstance(check, CustomSql)
                found[id(check)] = await self._custom(asking, check)
        for check in table.checks:
            await self._add_sample(asking, check, found[id(check)])
        return [found[id(check)] for check in table.checks]

    async def _scanned(self, asking: Asking, checks: Sequence[AnyCheck]) -> list[Finding]:
        """By one scan, and what it can't count beside it. When it can't be answered, each by a scan of its own, so that
        the one at fault is found and the others are made."""
        if not checks:
            return []
        scan, cells = asking.scan(checks)
        beside = {at: query for at, check in enumerate(checks) if (query := asking.beside(check)) is not None}
        scanned, *counted = await self._engine.ask_each([scan, *beside.values()])
        if isinstance(scanned, Unanswered):
            if len(checks) == 1 or scanned.late:
                return [self._error(check, str(scanned), scan) for check in checks]
            return [finding for check in checks for finding in await self._scanned(asking, [check])]
        (row,) = scanned
        counts = dict(zip(beside, counted, strict=True))
        findings = []
        for at, (check, cell) in enumerate(zip(checks, cells, strict=True)):
            query, answer = (beside[at], counts[at]) if at in beside else (asking.scan([check])[0], scanned)
            if isinstance(answer, Unanswered):
                findings.append(self._error(check, str(answer), query))
            else:
                findings.append(self._found(check, answer[0][cell.value], int(row[cell.of]), query))
        return findings

    def _found(self, check: AnyCheck, value: Any, rows: int, query: Query) -> Finding:
        match check:
            case Freshness() if value is None:
                said = self._error(check, f"no row has a value in {check.column}").result
            case Freshness():
                said = self._judged(check, Fraction(self._at.timestamp() - value), None)
            case RowCount():
                said = self._judged(check, Fraction(rows), None)
            case RowChange():
                before = self._rows_before[name_of(check)]
                if before is None:
                    said = result(self._table.source, check, "pass", why=f"there is no run before; {rows} rows")
                else:
                    said = self._judged(check, Fraction(rows - before), before)
            case _:
                said = self._judged(check, Fraction(value), rows)
        return Finding(result=said, rows=rows, sql=readable(query.sql, query.values))

    async def _custom(self, asking: Asking, check: CustomSql) -> Finding:
        text = asking.custom(check)
        if check.returns == "rows":
            counted = f"select count(*) as rows from (select 1 from (\n{text}\n) as q limit $1) as r"  # noqa: S608
            values: list[Any] = [check.max_rows]
        else:
            # A name for the first column, since rows are told apart by names, and unnamed ones have all the same.
            counted, values = f"select * from (\n{text}\n) as q(value) limit 2", []  # noqa: S608 - the user's own query
        finding = Finding(result=result(self._table.source, check, "error"), sql=text)
        try:
            rows = await self._engine.ask(counted, values)
            value = _only_number(rows)
        except Unanswered as error:
            finding.result = result(self._table.source, check, "error", why=str(error))
            return finding
        capped = check.returns == "rows" and value == check.max_rows
        why = "counted no further (max_rows)" if capped else ""
        finding.result = self._judged(check, value, None, why=why)
        return finding

    async def _add_sample(self, asking: Asking, check: AnyCheck, finding: Finding) -> None:
        """Some of the failing rows of a check that warns or fails, by their keys."""
        if finding.result.verdict not in ("warn", "fail"):
            return
        try:
            if isinstance(check, CustomSql):
                if check.returns == "rows" and self._suite.samples:
                    found = await self._engine.sample(check, asking.custom(check), self._suite.samples)
                    finding.sample = [self._privacy.masked(row) for row in found]
                return
            query = asking.failing(check)
            if query is None:
                return
            finding.rows_sql = readable(query.sql, query.values)
            if self._suite.samples:
                rows = await self._engine.ask(f"{query.sql}\nlimit {self._suite.samples}", query.values)
                finding.sample = [self._privacy.masked(row) for row in rows]
        except Unanswered as error:
            said = f"no failing rows are shown: {error}"
            why = "; ".join(filter(None, [finding.result.why, said]))
            finding.result = msgspec.structs.replace(finding.result, why=why)

    def _judged(self, check: AnyCheck, value: Fraction, of: int | None, *, why: str = "") -> CheckResult:
        return judged(self._table.source, check, value, of, why=why)

    def _error(self, check: AnyCheck, why: str, query: Query | None = None) -> Finding:
        said = result(self._table.source, check, "error", why=why)
        return Finding(result=said, sql=readable(query.sql, query.values) if query else "")


def _only_number(rows: Sequence[Row]) -> Fraction:
    """The number in the only column of the only row; raises `Unanswered`."""
    if len(rows) != 1 or len(rows[0]) != 1:
        shape = "no row" if not rows else f"{len(rows)} rows or more" if len(rows) > 1 else f"{len(rows[0])} columns"
        raise Unanswered(f"returns: value wants one row with one number; {shape} came")
    (value,) = rows[0].values()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unanswered(f"returns: value wants a number; {'null' if value is None else type(value).__name__} came")
    try:
        return Fraction(value)
    except (ValueError, OverflowError):
        raise Unanswered(f"returns: value wants a number; {value} came") from None
