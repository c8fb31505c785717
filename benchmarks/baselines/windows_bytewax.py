"""Bytewax: `python -m benchmarks.aside windows benchmarks.baselines.windows_bytewax SERVERS TOPIC COUNT`.

As its documentation shows: Kafka in, `fold_window` on event time, no recovery: a crash loses everything.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]  # it has an environment of its own
import bytewax.operators.windowing as win  # type: ignore[import-not-found]
import msgspec
from bytewax.connectors.kafka import KafkaSource  # type: ignore[import-not-found]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.outputs import DynamicSink, StatelessSinkPartition  # type: ignore[import-not-found]
from bytewax.testing import run_main  # type: ignore[import-not-found]

from benchmarks.reading import BEGIN, Reading

State = tuple[int, float]
began_at = 0.0
closed = 0
decode = msgspec.json.Decoder(Reading).decode


def keyed(message: Any) -> tuple[str, Reading]:
    """A message to a reading and its key; the clock starts at the first."""
    global began_at
    if not began_at:
        began_at = time.perf_counter()
    reading = decode(message.value)
    return reading.sensor, reading


class _Counted(StatelessSinkPartition):  # type: ignore[misc]
    def write_batch(self, items: list[Any]) -> None:
        global closed
        closed += len(items)


class Counting(DynamicSink):  # type: ignore[misc]
    """Counts windows."""

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Counted:
        return _Counted()


def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first to the end of the last window."""
    flow = Dataflow("windows")
    messages = op.input("in", flow, KafkaSource([servers], [topic], tail=False, batch_size=5000))
    readings = op.map("keyed", messages, keyed)
    clock = win.EventClock(ts_getter=_at, wait_for_system_duration=timedelta(seconds=60))
    minutes = win.TumblingWindower(length=timedelta(minutes=1), align_to=BEGIN)
    folded = win.fold_window("fold", readings, clock, minutes, _none, _folded, _merged, ordered=False)
    results = op.map("average", folded.down, _with_average)
    op.output("out", results, Counting())
    run_main(flow)
    seconds = time.perf_counter() - began_at
    print(json.dumps({"messages_per_s": count / seconds, "windows": float(closed)}))


def _at(reading: Reading) -> datetime:
    return reading.at.replace(tzinfo=UTC)


def _none() -> State:
    return 0, 0.0


def _folded(state: State, reading: Reading) -> State:
    return state[0] + 1, state[1] + reading.value


def _merged(one: State, other: State) -> State:
    return one[0] + other[0], one[1] + other[1]


def _with_average(result: tuple[str, tuple[int, State]]) -> tuple[str, tuple[int, int, float, float]]:
    key, (window, (number, total)) = result
    return key, (window, number, total, total / number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
