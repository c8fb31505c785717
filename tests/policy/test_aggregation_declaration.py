"""What can be wrong with an aggregation is told by path, with what is allowed and what to do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts.aggregation import Aggregation, Condition, Hopping, Measure, Results, Session, Tumbling
from contracts.dataset import Column
from contracts.event import Event, EventTime

EVENT = Event(
    name="sale",
    topic="sales",
    key="shop",
    time=EventTime(column="sold_at"),
    columns=(
        Column(name="shop"),
        Column(name="clerk"),
        Column(name="sold_at", type="timestamp", nullable=False),
        Column(name="amount", type="decimal", scale=2),
        Column(name="weight", type="float"),
        Column(name="day", type="date"),
        Column(name="detail", type="json"),
        Column(name="paid", type="bool"),
    ),
)
SALES = Aggregation(
    name="sales_by_shop",
    event="sale",
    key=("shop",),
    window=Tumbling(size_s=60),
    measures=(Measure(name="sales", kind="count"),),
    to=Results(table="sales_by_shop"),
)


def faults(event: Event | None = EVENT, **changes: Any) -> dict[str, str]:
    return dict(msgspec.structs.replace(SALES, **changes).faults(event))


def measure(kind: Any, of: str | None = None, q: float | None = None) -> dict[str, Any]:
    return {"measures": (Measure(name="m", kind=kind, of=of, q=q),)}


def where(column: str, op: Any = "=", **given: Any) -> dict[str, Any]:
    return {"where": (Condition(column=column, op=op, **given),)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"key": ("shop", "clerk", "day", "paid")},
        {"window": Hopping(size_s=60, every_s=7)},
        {"window": Session(gap_s=0.5)},
        {"late": "update", "lateness_s": 60, "to": Results(address="sales.told", late_address="sales.late")},
        {"late": "side", "to": Results(table="shop.sales", late_address="sales.late", changes=True)},
        {"late": "drop"},
        {"idle_s": None},
        measure("avg", "amount"),
        measure("quantile", "weight", 0.0),
        measure("max", "day"),
        measure("distinct", "clerk"),
        measure("count", "detail"),
        where("amount", ">=", value=0.5),
        where("day", "in", values=("2026-01-01", "2026-02-01")),
        where("paid", value=False),
        where("clerk", "!=", value="Ada"),
    ],
    ids=str,
)
def test_these_can_be_used(changes: dict[str, Any]) -> None:
    assert faults(**changes) == {}


@pytest.mark.parametrize(
    ("changes", "path", "why"),
    [
        ({"key": ("shop", "shop")}, "key[1]", "'shop' is there twice"),
        ({"key": ("shop", "events")}, "key[1]", "is a column of every result"),
        ({"key": ("shop", "till")}, "key[1]", "not among the columns of the event (shop, clerk,"),
        ({"key": ("shop", "detail")}, "key[1]", "detail is json, which has no equality"),
        ({"key": ("shop", "weight")}, "key[1]", "weight is float, which has no equality"),
        ({"key": ("clerk",)}, "key[0]", "the topic sales is keyed by shop, so the events of one clerk are in several"),
        ({"key": ("clerk",)}, "key[0]", "let event_enricher republish the events on a topic that is keyed by clerk"),
        ({"window": Tumbling(size_s=0.0015)}, "window.size_s", "0.0015 s is no whole number of milliseconds"),
        ({"window": Session(gap_s=1.0001)}, "window.gap_s", "no whole number of milliseconds"),
        ({"window": Hopping(size_s=5, every_s=6)}, "window.every_s", "events would lie between the windows"),
        (
            {"window": Hopping(size_s=86400, every_s=1)},
            "window.every_s",
            "into 86400 windows, at most 1440 are allowed",
        ),
        ({"to": Results()}, "to", "name a table, an address, or both"),
        ({"to": Results(table="millrace.sales")}, "to.table", "the runtime's own"),
        ({"to": Results(address="sales")}, "to.address", "sales is where the events come from"),
        ({"to": Results(table="t", late_address="sales")}, "to.late_address", "where the events come from"),
        ({"to": Results(address="told", late_address="told")}, "to.late_address", "that of the results as well"),
        ({"late": "side"}, "to.late_address", "late: side needs it"),
        ({"late": "drop", "to": Results(table="t", late_address="l")}, "to.late_address", "counts late events only"),
        ({"late": "drop", "lateness_s": 5}, "lateness_s", "with late: drop a closed window stays as it is"),
        (measure("sum"), "measures[0].of", "sum needs a column"),
        (measure("sum", "tip"), "measures[0].of", "'tip' is not among the columns"),
        (measure("sum", "clerk"), "measures[0].of", "sum is for decimal, float, int; clerk is text"),
        (measure("min", "clerk"), "measures[0].of", "min is for date, decimal, float, int, timestamp; clerk is text"),
        (measure("distinct", "detail"), "measures[0].of", "json, which has no equality"),
        (measure("quantile", "amount"), "measures[0].q", "quantile needs q: 0.5 is the median"),
        (measure("avg", "amount", 0.5), "measures[0].q", "is for kind: quantile, not avg"),
        ({"measures": (Measure(name="shop", kind="count"),)}, "measures[0].name", "is a column of the result already"),
        ({"measures": (Measure(name="n", kind="count"),) * 2}, "measures[1].name", "'n' is there twice"),
        (where("tip", value=1), "where[0].column", "'tip' is not among the columns"),
        (where("detail", value="{}"), "where[0].column", "json, which has no equality"),
        (where("clerk", "<", value="a"), "where[0].op", "'<' is for date, decimal"),
        (where("amount", value="much"), "where[0].value", "'much' is not a value of amount, which is decimal"),
        (where("day", "in", values=("2026-01-01", "soon")), "where[0].values[1]", "'soon' is not a value of day"),
        (where("amount", "in", value=1), "where[0].values", "op: in needs a list of values"),
        (where("amount", values=(1,)), "where[0].value", "op: '=' needs a value"),
    ],
    ids=str,
)
def test_these_can_not(changes: dict[str, Any], path: str, why: str) -> None:
    found = msgspec.structs.replace(SALES, **changes).faults(EVENT)
    assert {at for at, _ in found} == {path}
    assert any(why in told for _, told in found)


def test_an_event_without_a_time_has_no_windows() -> None:
    found = faults(msgspec.structs.replace(EVENT, time=None))
    assert found == {"event": "sale has no time: windows need one, declare its time.column"}


def test_an_event_without_a_key_is_to_be_keyed_first() -> None:
    found = faults(msgspec.structs.replace(EVENT, key=None))
    assert found["key[0]"].startswith(
        "the topic sales is not keyed, so the events of one shop are in several partitions"
    )


def test_without_the_event_the_rest_is_told() -> None:
    assert faults(None, key=("till", "till"), to=Results()).keys() == {"key[1]", "to"}
