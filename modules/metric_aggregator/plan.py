"""An aggregation and its event, worked out: what is needed of each event and how windows are kept, saved and read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from contracts.aggregation import Aggregation, Session
from contracts.event import Event
from modules.metric_aggregator.conditions import conditions_of
from modules.metric_aggregator.fixed import FixedWindows
from modules.metric_aggregator.journal import Header, decoder_of
from modules.metric_aggregator.keys import refuser_of
from modules.metric_aggregator.layout import Layout
from modules.metric_aggregator.sessions import SessionWindows
from modules.metric_aggregator.store import Row, Windows

_KEYS: dict[str, Any] = {
    "text": str,
    "int": int,
    "decimal": Decimal,
    "bool": bool,
    "date": date,
    "timestamp": datetime,
    "uuid": UUID,
}


class Plan:
    """Of one aggregation; the same for all partitions."""

    def __init__(self, aggregation: Aggregation, event: Event) -> None:
        assert event.time is not None, "the declaration was checked"
        self.aggregation = aggregation
        self.event = event
        self.time = event.time
        self.layout = Layout(aggregation, event)
        self.key_of: Callable[[Any], Any] = attrgetter(*aggregation.key)
        self.time_of: Callable[[Any], datetime] = attrgetter(event.time.column)
        self.passes = conditions_of(aggregation, event)
        self.refuses_key = refuser_of(aggregation, event)

    def windows(self) -> Windows:
        """Of a partition, empty."""
        window, limit = self.aggregation.window, self.aggregation.max_state_bytes
        if isinstance(window, Session):
            return SessionWindows(window, self.layout, self.key_of, limit)
        return FixedWindows(window, self.layout, self.key_of, limit)

    @cached_property
    def decoder(self) -> msgspec.msgpack.Decoder[tuple[Header, list[Row]]]:
        """Of what is saved."""
        parts = tuple(_KEYS[self.event.column(name).type] for name in self.aggregation.key)
        key = parts[0] if len(parts) == 1 else tuple[parts]  # type: ignore[valid-type]
        return decoder_of(key, self.windows().saved_as)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides what a saved window means. Other conditions or bounds of time count from now on."""
        told = self.aggregation
        columns = {
            name: (column.type, column.nullable and column.default is None)
            for name in {*told.key, *(measure.of for measure in told.measures if measure.of)}
            for column in (self.event.column(name),)
        }
        decides = (told.event, told.key, told.window, told.measures, sorted(columns.items()), self.time.column)
        return hashlib.blake2b(msgspec.json.encode(decides), digest_size=16).hexdigest()
