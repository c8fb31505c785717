"""The module in the worker that ships: what lies on a topic is published once more, and counts the same."""

from __future__ import annotations

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from contracts.aggregation import Results, Tumbling
from contracts.stream_replay import RunStreamReplay
from modules import metric_aggregator, stream_replay
from tests.kit.catalog import DeclaredCatalog
from tests.kit.harness import harness
from tests.modules.windows_kit import READING, aggregation, reading

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


async def test_a_replay_counts_what_came_live(db: PostgresDb) -> None:
    live = aggregation(Tumbling(size_s=60), to=Results(table="live", changes=True))
    again = msgspec.structs.replace(READING, name="again", topic="readings.again")
    anew = msgspec.structs.replace(live, name="anew", event="again", to=Results(table="anew", changes=True))
    catalog = DeclaredCatalog(READING, again, live, anew)
    async with harness(metric_aggregator.module, stream_replay.module, db=db, catalog=catalog) as running:
        for number in range(300):
            event = reading(number * 3.5, f"s{number % 7}", value=f"{number}.25")
            await running.publish("readings", event, key=event.sensor)
        await running.settled()
        report = await running.job("run.stream_replay", RunStreamReplay(topic="readings", into="readings.again"))
        await running.settled()
        assert report.messages == 300
        assert sum(report.by_partition.values()) == 300
    columns = "sensor, window_start, window_end, readings, value_sum, value_avg, events, closed"
    rows = [await db.fetch(f"select {columns} from {name} order by 1, 2") for name in ("live", "anew")]  # noqa: S608
    assert rows[0] == rows[1]
    assert len(rows[0]) > 50
