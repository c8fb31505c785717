"""What a PromQL query asks for, by its syntax tree: the series it names, and the labels that its result has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import promql_parser as promql

OF_TARGET = frozenset({"instance", "job", "namespace"})
"""What Prometheus adds to what it scrapes; `namespace` only in Kubernetes."""

RISES = {"rate", "increase", "irate"}
KEEPS_LABELS = {*RISES, "delta", "deriv", "last_over_time", "max_over_time", "min_over_time", "abs", "clamp_min"}
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
"""Grafana's, with values that they may have."""

Kind = Literal["counter", "gauge"]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A name that may be asked for."""

    kind: Kind
    labels: frozenset[str]


class Wrong(Exception):
    """A query that can't mean what it says."""


Known = Mapping[str, Series]


def parsed(query: str) -> Any:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return promql.parse(query)


def names_in(query: str) -> list[str]:
    """Every metric that it names."""
    return [selector.name for selector in _selectors(parsed(query))]


def labels_of(query: str, known: Known) -> frozenset[str]:
    """The labels of the result. Raises `Wrong` for a name or a label that is not known, a counter whose height is
    asked for where only its rise tells something, and a quantile of what is no bucket."""
    return _labels(parsed(query), known, rising=False)


def _selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql.VectorSelector):
        yield node
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector
    else:
        for inner in _inner(node):
            yield from _selectors(inner)


def _inner(node: Any) -> list[Any]:
    match node:
        case promql.AggregateExpr():
            return [node.expr]
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return list(node.args)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
    return []


def _labels(node: Any, known: Known, *, rising: bool) -> frozenset[str]:
    match node:
        case promql.VectorSelector():
            return _selected(node, known, rising=rising)
        case promql.MatrixSelector():
            return _selected(node.vector_selector, known, rising=rising)
        case promql.AggregateExpr():
            return _aggregated(node, known)
        case promql.BinaryExpr():
            return _both(node, known)
        case promql.Call():
            return _called(node, known)
        case promql.ParenExpr() | promql.UnaryExpr():
            return _labels(node.expr, known, rising=rising)
    return frozenset()  # a number


def _selected(selector: Any, known: Known, *, rising: bool) -> frozenset[str]:
    if selector.name not in known:
        raise Wrong(f"{selector.name} is neither exported nor recorded")
    series = known[selector.name]
    if strange := {matcher.name for matcher in selector.matchers.matchers} - series.labels - {"__name__"}:
        raise Wrong(f"{selector.name} has no label {', '.join(sorted(strange))}")
    if rising and series.kind == "gauge":
        raise Wrong(f"{selector.name} is a gauge: it does not only rise")
    if not rising and series.kind != "gauge":
        raise Wrong(f"{selector.name} only ever rises: ask for its rate or increase")
    return series.labels


def _aggregated(node: Any, known: Known) -> frozenset[str]:
    labels = _labels(node.expr, known, rising=False)
    if node.modifier is None:
        return frozenset()
    grouped = frozenset(node.modifier.labels)
    if strange := grouped - labels:
        raise Wrong(f"{node.expr} has no label {', '.join(sorted(strange))} to group by")
    return grouped if "By" in str(node.modifier.type) else labels - grouped


def _both(node: Any, known: Known) -> frozenset[str]:
    operator = str(node.op)
    if operator == "unless" and _is_new(node):
        return _labels(node.lhs, known, rising=True)
    left, right = (_labels(side, known, rising=False) for side in (node.lhs, node.rhs))
    matching = node.modifier.matching if node.modifier else None
    numbers = any(isinstance(side, promql.NumberLiteral) for side in (node.lhs, node.rhs))
    if matching is None and left != right and not numbers and operator != "or":
        raise Wrong(f"the sides of {operator} have other labels: {sorted(left)} and {sorted(right)}")
    return left | right if operator == "or" else left or right


def _is_new(node: Any) -> bool:
    """`counter unless counter offset 15m`: the height of a counter that was not there before is its rise."""
    sides = (node.lhs, node.rhs)
    return all(isinstance(side, promql.VectorSelector) for side in sides) and sides[0].name == sides[1].name


def _called(node: Any, known: Known) -> frozenset[str]:
    name = node.func.name
    if name == "histogram_quantile":
        if "le" not in (labels := _labels(node.args[1], known, rising=False)):
            raise Wrong("a quantile is one of buckets, by le")
        return labels - {"le"}
    inner = [_labels(argument, known, rising=name in RISES) for argument in node.args]
    if name in ("vector", "absent", "scalar", "time"):
        return frozenset()
    if name not in KEEPS_LABELS:
        raise Wrong(f"{name} is not known here: add it to KEEPS_LABELS, if it does")
    return frozenset().union(*inner)
