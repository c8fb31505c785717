"""Which events are landed, as arguments and catalog have it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts.errors import Faults
from contracts.event import Event
from contracts.module import StreamRoute
from contracts.stream_ingest import RunStreamIngest
from modules.stream_ingest import module
from modules.stream_ingest.served import lakes, served
from tests.kit.catalog import DeclaredCatalog
from tests.modules.stream_ingest_kit import declared

TABLE = declared({"table": "orders"})
LAKE = declared({"lake": {"path": "lake/clicks"}}, name="click", topic="clicks")
UNLANDED = msgspec.structs.replace(TABLE, name="ping", topic="pings", land=None)


class BrokenCatalog(DeclaredCatalog):
    """One file can't be read."""

    def events(self) -> list[str]:
        return [*super().events(), "broken"]

    def event(self, name: str) -> Event:
        if name == "broken":
            raise Faults("catalog", ["events/broken.yaml:1: no event"])
        return super().event(name)


def names(*declared: Event, **asked: Any) -> list[str]:
    return [event.name for event in served(DeclaredCatalog(*declared), RunStreamIngest(**asked))]


def faults(*declared: Event, **asked: Any) -> str:
    with pytest.raises(Faults) as caught:
        served(DeclaredCatalog(*declared), RunStreamIngest(**asked))
    return str(caught.value)


def test_all_that_are_landed_are_served() -> None:
    assert names(TABLE, LAKE, UNLANDED) == ["click", "order_placed"]
    assert names(UNLANDED) == []


def test_a_topic_narrows_them_down() -> None:
    assert names(TABLE, LAKE, UNLANDED, topic="clicks") == ["click"]


def test_an_unknown_topic_is_told_with_the_known_ones() -> None:
    assert "no event declares 'orders'; those that are landed are clicks, orders.placed" in faults(
        TABLE, LAKE, UNLANDED, topic="orders"
    )


def test_a_topic_whose_event_is_not_landed_is_told() -> None:
    assert "is that of ping, which has no `land`" in faults(TABLE, UNLANDED, topic="pings")


def test_two_events_of_one_topic_are_told() -> None:
    other = msgspec.structs.replace(TABLE, name="order_again")
    assert "order_again and order_placed are both landed from topic orders.placed" in faults(TABLE, other)


def test_a_broken_declaration_is_told_unless_another_topic_is_asked_for() -> None:
    catalog = BrokenCatalog(TABLE)
    with pytest.raises(Faults, match=r"broken\.yaml:1"):
        served(catalog, RunStreamIngest())
    with pytest.raises(Faults, match=r"(?s)no event declares 'x'.*broken\.yaml:1"):
        served(catalog, RunStreamIngest(topic="x"))
    assert len(served(catalog, RunStreamIngest(topic="orders.placed"))) == 1


def test_size_and_format_override_what_is_declared() -> None:
    [click, order] = served(DeclaredCatalog(TABLE, LAKE), RunStreamIngest(batch_size=100, output_format="csv"))
    assert click.land is not None
    assert click.land.lake is not None
    assert (click.land.rows, click.land.lake.format) == (100, "csv")
    assert order.land is not None
    assert (order.land.rows, order.land.lake) == (100, None)


def test_a_format_without_a_lake_is_told() -> None:
    assert "no event that is landed has one (order_placed)" in faults(TABLE, output_format="csv")


def test_each_event_is_a_route_as_it_is_declared() -> None:
    configured = module.configured(DeclaredCatalog(TABLE, LAKE), RunStreamIngest(batch_size=7))
    routes = {route.address: route for route in configured.routes if isinstance(route, StreamRoute)}
    assert set(routes) == {"clicks", "orders.placed"}
    table, lake = routes["orders.placed"], routes["clicks"]
    assert table.batch is not None
    assert (table.batch.rows, table.raw, table.tick_s) == (7, True, None)
    assert lake.tick_s == 30
    assert (table.summary, table.group) == ("Land the events order_placed.", "stream_ingest")
    assert module.routes == []


def test_lakes_are_found_by_name() -> None:
    catalog = DeclaredCatalog(TABLE, LAKE)
    assert list(lakes(catalog, None)) == ["click"]
    assert lakes(catalog, "click")["click"].path == "lake/clicks"
    with pytest.raises(Exception, match="event order_placed declares no lake"):
        lakes(catalog, "order_placed")
