"""Windows over the taxi file of the reference data equal the answers that other tools computed, to the last digit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.message import Envelope
from modules.metric_aggregator import module
from tests.kit import taxi_windows
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize("order", ["as it is", "sorted", "shuffled, each trip twice"])
async def test_the_taxi_file(order: str, db: PostgresDb, reference_data: Path) -> None:
    answers = taxi_windows.answers(reference_data)
    declared = [taxi_windows.aggregation(name, answer) for name, answer in answers.items()]
    trips = [(f"trip-{number}", *one) for number, one in enumerate(taxi_windows.trips(reference_data))]
    if order == "sorted":
        trips.sort(key=lambda trip: trip[2][trip[2].index(b"pickup_datetime") :])
    if order.startswith("shuffled"):
        trips = [*trips, *trips]
        random.Random(7).shuffle(trips)
    now = SystemClock().now()
    envelopes = [
        Envelope(id=id_, address="trips", body=body, key=key, published_at=now, correlation_id=id_)
        for id_, key, body in trips
    ]
    async with harness(module, db=db, catalog=DeclaredCatalog(taxi_windows.trip_event(), *declared)) as running:
        for at in range(0, len(envelopes), 1000):
            await running.bus.publish(*envelopes[at : at + 1000])
            if at % 4000 == 0:
                await running.settled()  # a part of it at a time: there is a limit to how long it is waited for
        await running.settled()
        assert await running.dead_letters() == []
    for name, answer in answers.items():
        ours = await taxi_windows.found(db, name)
        assert taxi_windows.differences(ours, taxi_windows.expected(answer)) == [], name
