"""Quix Streams: `python -m benchmarks.aside windows benchmarks.baselines.windows_quix SERVERS TOPIC COUNT`.

As its documentation shows: a tumbling window with three aggregations, state in RocksDB with a changelog topic, final
results; at-least-once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]  # it has an environment of its own
from quixstreams.dataframe.windows import Count, Mean, Sum  # type: ignore[import-not-found]


def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first to the last."""
    seen, began_at = 0, 0.0

    def timestamp(_value: Any, _headers: Any, of_message: int, _type: Any) -> int:
        """The message's own. Here is where messages are counted, since the application counts results."""
        nonlocal seen, began_at
        began_at = began_at or time.perf_counter()
        seen += 1
        if seen == count:
            app.stop()
        return of_message

    with TemporaryDirectory() as directory:
        app = Application(
            broker_address=servers,
            consumer_group=f"quix-{os.getpid()}",
            auto_offset_reset="earliest",
            state_dir=directory,
            loglevel="ERROR",
        )
        readings = app.dataframe(app.topic(topic, value_deserializer="json", timestamp_extractor=timestamp))
        readings.tumbling_window(timedelta(minutes=1)).agg(count=Count(), sum=Sum("value"), avg=Mean("value")).final()
        app.run()
        print(json.dumps({"messages_per_s": count / (time.perf_counter() - began_at)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
