"""Whole columns of text to typed columns.

A column is cast in one sweep by an expression that is trusted only where it can't be wrong (`layouts`). Every row
that it does not vouch for, and every row that fails a check, is judged again alone by `rules` (exact, slow, with all
the reasons): it comes back typed, or it is rejected. So the fast way never decides that a row is bad, and strictness
costs nothing where rows are usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contracts.dataset import Column
from contracts.quarantine import Reason
from modules.batch_etl.layouts import layouts, typed_layout
from modules.batch_etl.rules import Rule, Rules

if TYPE_CHECKING:
    import polars as pl

SEQ = "#seq"
"""The place of a row in the whole input, beside the declared columns."""

ODD_SHARE = 64
"""When more than one value in this many is doubted, the column is tried in its other layouts before its rows are
judged one by one."""


class Cast:
    """What became of a chunk: `frame` has the good rows with `SEQ`, `rejected` the index and reasons of the others."""

    __slots__ = ("frame", "rejected")

    def __init__(self, frame: pl.DataFrame, rejected: list[tuple[int, list[Reason]]]) -> None:
        self.frame = frame
        self.rejected = rejected


class Caster:
    """Casts chunks of one dataset. It remembers which layout suited a column, for the next chunk."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.names = [rule.name for rule in rules.columns]
        self.schema = {rule.name: dtype(rule.column) for rule in rules.columns}
        self._preferred: dict[str, int] = {}

    def cast(self, raw: pl.DataFrame, seq: pl.Series, *, nul: bool = True) -> Cast:
        """`raw` has a column of text, or of a Parquet type, for each declared one; `seq` numbers its rows. `nul`:
        there may be a NUL character somewhere."""
        import polars as pl

        nulled = raw.select(_nulled(rule, raw.schema[rule.name]) for rule in self.rules.columns)
        looks = [look for rule in self.rules.columns for look in self._look(rule, nulled, nul=nul)]
        both = nulled.with_columns(seq.alias(SEQ), *looks)
        both = self._look_again(self._doubted(both))
        both = both.with_columns(self._checked(both))
        bad = both.get_column("#bad")
        where = bad.arg_true()
        good = both.select(*(pl.col(f"v:{name}").alias(name) for name in self.names), SEQ)
        if not len(where):
            return Cast(good, [])
        good = good.filter(~bad)
        flags = both.select(pl.col(f"b:{name}").gather(where).alias(name) for name in self.names)
        rescued, rejected = self._judge(raw, seq, where.to_list(), flags)
        if rescued:
            again = pl.DataFrame(rescued, schema={**self.schema, SEQ: pl.Int64}, orient="row")
            good = pl.concat([good, again]).sort(SEQ)
        return Cast(good, rejected)

    def _look(self, rule: Rule, nulled: pl.DataFrame, *, nul: bool) -> list[pl.Expr]:
        """The typed column `v:name`, and `d:name`: where its cast is in doubt."""
        import polars as pl

        kind = nulled.schema[rule.name]
        if kind == pl.String:
            options = layouts(rule)
            look = options[min(self._preferred.get(rule.name, 0), len(options) - 1)]
        else:
            look = typed_layout(rule, kind)
        source = pl.col(rule.name)
        value, trusted = look(source)
        typed = value.cast(self.schema[rule.name], strict=False).alias(f"v:{rule.name}")
        if trusted is None or (rule.column.type == "text" and not nul):
            return [typed]
        doubt = source.is_not_null() & ~trusted.fill_null(value=False)
        return [typed, doubt.alias(f"d:{rule.name}")]

    def _doubted(self, both: pl.DataFrame) -> pl.DataFrame:
        """`d:name` of those columns whose typed values are to be trusted wherever there is one."""
        import polars as pl

        names = [name for name in self.names if f"d:{name}" not in both.columns]
        return both.with_columns(
            (pl.col(name).is_not_null() & pl.col(f"v:{name}").is_null()).alias(f"d:{name}") for name in names
        )

    def _look_again(self, both: pl.DataFrame) -> pl.DataFrame:
        """Try the other layouts of a column that is in doubt in more than a few rows."""
        import polars as pl

        if both.height < ODD_SHARE:
            return both
        doubts = both.select(pl.col(f"d:{name}").sum() for name in self.names).row(0)
        for rule, doubted in zip(self.rules.columns, doubts, strict=True):
            if both.schema[rule.name] != pl.String:
                continue
            best, options = both.height // ODD_SHARE, layouts(rule)
            value, doubt = pl.col(f"v:{rule.name}"), pl.col(f"d:{rule.name}")
            for at, look in enumerate(options):
                if doubted <= best:
                    break
                other, trusted = look(pl.col(rule.name))
                better = doubt & (other.is_not_null() if trusted is None else trusted.fill_null(value=False))
                both = both.with_columns(
                    pl.when(better)
                    .then(other.cast(self.schema[rule.name], strict=False))
                    .otherwise(value)
                    .alias(f"v:{rule.name}"),
                    (doubt & ~better).alias(f"d:{rule.name}"),
                )
                left = int(both.get_column(f"d:{rule.name}").sum())
                if doubted - left > both.height // 2:
                    self._preferred[rule.name] = at
                doubted = left
        return both

    def _checked(self, both: pl.DataFrame) -> list[pl.Expr]:
        """Defaults filled in, `b:name`: where a column's value must be judged alone, and `#bad`: where any must."""
        import polars as pl

        suspect: dict[str, pl.Expr] = {}
        filled: list[pl.Expr] = []
        for rule in self.rules.columns:
            source, value = pl.col(rule.name), pl.col(f"v:{rule.name}")
            bad = [pl.col(f"d:{rule.name}")]
            if rule.default is not None:
                default = pl.lit(rule.default, dtype=self.schema[rule.name])
                filled.append(pl.when(source.is_null()).then(default).otherwise(value).alias(f"v:{rule.name}"))
            elif rule.required:
                bad.append(source.is_null())
            bad += [
                violated.fill_null(value=False) for violated in _violations(rule, value, both, self.schema[rule.name])
            ]
            suspect[rule.name] = pl.any_horizontal(bad)
        named = [flag.alias(f"b:{name}") for name, flag in suspect.items()]
        return [*filled, *named, pl.any_horizontal(*suspect.values()).alias("#bad")]

    def _judge(
        self, raw: pl.DataFrame, seq: pl.Series, where: Sequence[int], flags: pl.DataFrame
    ) -> tuple[list[tuple[Any, ...]], list[tuple[int, list[Reason]]]]:
        rescued: list[tuple[Any, ...]] = []
        rejected: list[tuple[int, list[Reason]]] = []
        rows = (
            raw[where]
            .select(_as_text(rule, raw.schema[rule.name]) for rule in self.rules.columns)
            .iter_rows(named=True)
        )
        for index, row, flagged in zip(where, rows, flags.iter_rows(), strict=True):
            if reasons := self.rules.faults(row, flagged):
                rejected.append((index, reasons))
            else:
                rescued.append((*self.rules.values(row), seq[index]))
        return rescued, rejected


def dtype(column: Column) -> pl.DataType:
    """The Polars type that holds a column's values."""
    import polars as pl

    types: dict[str, pl.DataType] = {
        "int": pl.Int64(),
        "float": pl.Float64(),
        "decimal": pl.Decimal(column.precision, column.scale),
        "bool": pl.Boolean(),
        "date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
    return types.get(column.type, pl.String())


def _as_text(rule: Rule, kind: pl.DataType) -> pl.Expr:
    """A typed column (of a Parquet file) as the texts that stand for its values."""
    import polars as pl

    source = pl.col(rule.name)
    if not isinstance(kind, pl.Datetime):
        return source.cast(pl.String)
    text = source.dt.to_string("%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if kind.time_zone else ""))
    if rule.column.type != "date":
        return text
    return pl.when(source.cast(pl.Date).cast(kind) == source).then(source.dt.to_string("%Y-%m-%d")).otherwise(text)


def _nulled(rule: Rule, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    source = pl.col(rule.name)
    if kind != pl.String or not rule.tokens:
        return source
    if rule.tokens == {""}:
        return pl.when(source != "").then(source)
    return pl.when(~source.is_in(sorted(rule.tokens))).then(source)


def _violations(rule: Rule, value: pl.Expr, both: pl.DataFrame, kind: pl.DataType) -> list[pl.Expr]:
    """Where a value fails a check; null passes them all."""
    import polars as pl

    column, found = rule.column, []
    if rule.choices:
        found.append(~value.is_in(pl.Series(rule.choices, dtype=kind).implode()))
    if rule.lowest is not None:
        found.append(~(value >= pl.lit(rule.lowest, dtype=kind)) | _nan(rule, value))
    if rule.highest is not None:
        found.append(~(value <= pl.lit(rule.highest, dtype=kind)) | _nan(rule, value))
    if column.max_length is not None:
        found.append(value.str.len_chars() > column.max_length)
    if rule.pattern is not None:
        # Each distinct value once, by Python's own expressions: the declaration has one meaning only.
        distinct = both.get_column(f"v:{rule.name}").unique().drop_nulls()
        wrong = [text for text in distinct if not rule.pattern.fullmatch(text)]
        if wrong:
            found.append(value.is_in(wrong))
    if rule.day is not None:
        first, end = rule.day_bounds()
        found.append((value < pl.lit(first, dtype=kind)) | (value >= pl.lit(end, dtype=kind)))
    return found


def _nan(rule: Rule, value: pl.Expr) -> pl.Expr:
    import polars as pl

    return value.is_nan() if rule.column.type == "float" else pl.lit(value=False)
