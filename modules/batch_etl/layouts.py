"""The ways in which the values of a type are usually written, each as one expression over a whole column.

A layout gives the typed column and where it can be trusted. Where it says nothing the exact caster decides, so a
layout may be narrow but must never be wrong: `tests/policy/test_batch_etl_cast.py` holds it to that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from modules.batch_etl.rules import Rule
from modules.batch_etl.scalar import SPACE, Wrong

if TYPE_CHECKING:
    import polars as pl

Look = Callable[["pl.Expr"], "tuple[pl.Expr, pl.Expr | None]"]
"""The typed column, and where it can be trusted; None where it can be wherever it isn't null, so that it need not be
computed a second time to tell."""

_DAY = r"\d{4}-\d\d-\d\d"
_TIME = r"\d\d:\d\d:[0-5]\d(?:\.\d{1,6})?"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-5]):?[0-5]\d)"
_INSTANT = (
    r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-5]):?[0-5][0-9])$"
)
_FIELDS = {"%Y": r"\d{4}", "%m": r"\d\d", "%d": r"\d\d", "%H": r"\d\d", "%M": r"\d\d", "%S": r"[0-5]\d"}


def layouts(rule: Rule) -> list[Look]:
    """The usual one first; then, where padding is common, the same without the spaces around."""
    make = _BY_TYPE[rule.column.type]
    plain = make(rule)
    if rule.column.type in ("text", "json"):
        return plain
    return plain + [functools.partial(_stripped, look) for look in plain]


def _stripped(look: Look, source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
    return look(source.str.strip_chars(SPACE))


def _int(_: Rule) -> list[Look]:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        return source.cast(pl.Int64, strict=False), None

    return [look]


def _float(rule: Rule) -> list[Look]:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        pointed, clean = _pointed(rule, source)
        value = pointed.cast(pl.Float64, strict=False)
        return value, clean & value.is_finite()

    return [look]


def _pointed(rule: Rule, source: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    import polars as pl

    if rule.cast_mark == ".":
        return source, pl.lit(value=True)
    return source.str.replace(rule.cast_mark, ".", literal=True), ~source.str.contains(".", literal=True)


def _decimal(rule: Rule) -> list[Look]:
    column = rule.column

    def look(source: pl.Expr, *, zeros: str) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        pointed, clean = _pointed(rule, source)
        value = pointed.cast(pl.Decimal(column.precision, column.scale), strict=False)
        exact = pointed.str.contains(rf"^[+-]?[0-9]+(?:\.[0-9]{{0,{column.scale}}}{zeros})?$")
        return pl.when(clean & exact).then(value), None

    return [functools.partial(look, zeros=""), functools.partial(look, zeros="0*")]


def _bool(rule: Rule) -> list[Look]:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        tokens = {token.lower(): False for token in rule.column.false_tokens}
        tokens |= {token.lower(): True for token in rule.column.true_tokens}
        lower = source.str.to_lowercase()
        value = lower.replace_strict(list(tokens), list(tokens.values()), default=None, return_dtype=pl.Boolean)
        return value, value.is_not_null()

    return [look]


def _date(rule: Rule) -> list[Look]:
    form = rule.column.format or "%Y-%m-%d"
    guard = _guard(form)
    if guard is None:
        return [_unsure(rule)]

    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        value = source.str.to_date(form, strict=False)
        return value, source.str.contains(guard) & (value >= pl.date(1, 1, 1))

    return [look]


def _timestamp(rule: Rule) -> list[Look]:
    if rule.column.format is not None:
        guard = _guard(rule.column.format)
        return [_unsure(rule) if guard is None else _moments(rule, rule.column.format, guard, zoned=False)]
    return [_instants, *_iso_moments(rule)]


def _instants(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
    """ISO 8601 with a zone, by Arrow's parser: ten times as fast as a format, but it gives up at the first fault, so
    it is shown only what can't fail."""
    import polars as pl

    return source.map_batches(_parsed_instants, return_dtype=pl.Datetime("us", "UTC")), None


def _parsed_instants(texts: pl.Series) -> pl.Series:
    import polars as pl
    import pyarrow as pa

    usual = texts.str.contains(_INSTANT)
    try:
        return _parsed_by_arrow(texts, usual)
    except pa.ArrowInvalid:  # a day that its month doesn't have
        there = texts.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
        try:
            return _parsed_by_arrow(texts, usual & there)
        except pa.ArrowInvalid:
            return pl.Series(texts.name, [], dtype=pl.Datetime("us", "UTC")).extend_constant(None, len(texts))


def _parsed_by_arrow(texts: pl.Series, usual: pl.Series) -> pl.Series:
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    shown = pc.if_else(usual.to_arrow(), texts.to_arrow().cast(pa.string()), pa.scalar(None, pa.string()))
    parsed = pl.from_arrow(shown.cast(pa.timestamp("us", "UTC")))
    assert isinstance(parsed, pl.Series)
    value = parsed.rename(texts.name)
    return pl.select(pl.when(_in_calendar(pl.lit(value))).then(pl.lit(value)).alias(texts.name)).to_series()


def _iso_moments(rule: Rule) -> list[Look]:
    return [
        _moments(rule, f"%Y-%m-%d{mark}%H:%M:%S%.f{zone}", f"^{_DAY}{mark}{_TIME}{shape}$", zoned=bool(zone))
        for zone, shape in (("%#z", _ZONE), ("", ""))
        for mark in ("T", " ")
    ]


def _moments(rule: Rule, form: str, guard: str, *, zoned: bool) -> Look:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:

        value = source.str.to_datetime(form, time_unit="us", strict=False)
        if not zoned:
            # Skipped and doubled hours become null: the exact caster says which.
            value = value.dt.replace_time_zone(rule.column.timezone, ambiguous="null", non_existent="null")
        value = value.dt.convert_time_zone("UTC")
        return value, source.str.contains(guard) & _in_calendar(value)

    return look


def _in_calendar(value: pl.Expr) -> pl.Expr:
    """Where a moment lies in the years that Python knows."""
    import polars as pl

    first, last = pl.datetime(1, 1, 1, time_zone="UTC"), pl.datetime(9999, 12, 31, 23, 59, 59, time_zone="UTC")
    return (value >= first) & (value <= last)


def _guard(form: str) -> str | None:
    """What fills the fields of a format completely; None for formats with fields that are read loosely."""
    fields = re.split(r"(%.)", form)
    if any(part.startswith("%") and part not in _FIELDS for part in fields):
        return None
    if len({part for part in fields if part in _FIELDS}) != len([part for part in fields if part in _FIELDS]):
        return None
    if any(part[:1].isspace() or part[-1:].isspace() for part in fields if part and part != " "):
        return None
    return "^" + "".join(_FIELDS.get(part) or re.escape(part) for part in fields) + "$"


def _uuid(_: Rule) -> list[Look]:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        return source, source.str.contains("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")

    def upper(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        return look(source.str.to_lowercase())

    return [look, upper]


def _text(_: Rule) -> list[Look]:
    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        return source, ~source.str.contains("\0", literal=True)

    return [look]


def _json(rule: Rule) -> list[Look]:
    def valid(text: str) -> bool:
        try:
            rule.cast(text)
        except Wrong:
            return False
        return True

    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        return source, source.map_elements(valid, return_dtype=pl.Boolean)

    return [look]


def _unsure(rule: Rule) -> Look:
    """Every distinct text by the exact caster: for formats that no expression reads in quite the same way."""

    def value_of(text: str) -> object:
        try:
            return rule.cast(text)
        except Wrong:
            return None

    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        import polars as pl

        kind = pl.Date() if rule.column.type == "date" else pl.Datetime("us", "UTC")
        value = source.map_batches(
            lambda texts: pl.Series([None if text is None else value_of(text) for text in texts], dtype=kind),
            return_dtype=kind,
        )
        return value, value.is_not_null()

    return look


_BY_TYPE: dict[str, Callable[[Rule], list[Look]]] = {
    "int": _int,
    "float": _float,
    "decimal": _decimal,
    "bool": _bool,
    "date": _date,
    "timestamp": _timestamp,
    "json": _json,
    "uuid": _uuid,
    "text": _text,
}


def typed_layout(rule: Rule, kind: pl.DataType) -> Look:
    """For a column that comes typed (Parquet); `native` says which types a column takes without their text."""
    import polars as pl

    wanted = rule.column.type

    def look(source: pl.Expr) -> tuple[pl.Expr, pl.Expr | None]:
        if wanted == "int":
            value = source.cast(pl.Int64, strict=False)
            return value, value.is_not_null()
        if wanted == "float":
            value = source.cast(pl.Float64)
            return value, value.is_finite()
        if wanted == "decimal":
            value = source.cast(pl.Decimal(rule.column.precision, rule.column.scale), strict=False)
            digits = kind.scale if isinstance(kind, pl.Decimal) else 0
            if digits <= rule.column.scale:
                return value, value.is_not_null()
            return value, value.cast(pl.Decimal(38, digits), strict=False) == source
        if wanted == "date" and isinstance(kind, pl.Datetime):
            whole = source.cast(pl.Date).cast(kind) == source  # a day as pandas writes it: a midnight
            value = source.cast(pl.Date)
            return value, whole & (value >= pl.date(1, 1, 1)) & (value <= pl.date(9999, 12, 31))
        if wanted == "date":
            return source, (source >= pl.date(1, 1, 1)) & (source <= pl.date(9999, 12, 31))
        if wanted == "timestamp":
            return _native_moments(rule, source, kind)
        return source, source.is_not_null()

    return look


def native(wanted: str, kind: pl.DataType) -> bool:
    """Whether a column of this Polars type is cast to the declared type directly, not by way of its text."""
    import polars as pl

    return {
        "int": kind.is_integer(),
        "float": kind.is_float(),
        "decimal": kind.is_integer() or isinstance(kind, pl.Decimal),
        "bool": kind == pl.Boolean,
        "date": kind == pl.Date or (isinstance(kind, pl.Datetime) and kind.time_zone in (None, "UTC")),
        "timestamp": isinstance(kind, pl.Datetime),
    }.get(wanted, False)


def _native_moments(rule: Rule, source: pl.Expr, kind: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    import polars as pl

    zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
    value = source.cast(pl.Datetime("us", zone))
    if zone is None:
        value = value.dt.replace_time_zone(rule.column.timezone, ambiguous="null", non_existent="null")
    value = value.dt.convert_time_zone("UTC")
    whole = source.dt.nanosecond() % 1000 == 0
    return value, whole & _in_calendar(value)
