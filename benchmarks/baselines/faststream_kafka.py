"""FastStream on Kafka: `python -m benchmarks.baselines.faststream_kafka SERVERS TOPIC COUNT ordered|first TAKES_S`.

At its fastest: no type validation of its own, an async decoder by msgspec. `ordered`: `max_workers=64` with
`AckPolicy.ACK`, which keeps the order within a partition; `first`: `AckPolicy.ACK_FIRST`, which commits ahead of the
work and may lose it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import msgspec
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from benchmarks.stream_message import Order


async def main(servers: str, topic: str, count: int, mode: str, takes_s: float) -> None:
    """Messages a second, from the first that is handled to the last."""
    decoder = msgspec.json.Decoder(Order)

    async def decode(message: Any) -> Order:
        return decoder.decode(message.body)

    broker = KafkaBroker(servers, apply_types=False, decoder=decode, logger=None)
    handled, began_at, done = 0, 0.0, asyncio.Event()
    options: dict[str, Any] = {"ack_policy": AckPolicy.ACK_FIRST}
    if mode == "ordered":
        options = {"ack_policy": AckPolicy.ACK, "max_workers": 64}

    @broker.subscriber(topic, group_id=f"faststream-{os.getpid()}", auto_offset_reset="earliest", **options)  # type: ignore[untyped-decorator]
    async def handle(_order: Order) -> None:
        nonlocal handled, began_at
        began_at = began_at or time.perf_counter()
        if takes_s:
            await asyncio.sleep(takes_s)  # noqa: TID251 - what the handler takes
        handled += 1
        if handled >= count:
            done.set()

    await broker.start()
    await done.wait()
    seconds = time.perf_counter() - began_at
    await broker.stop()
    print(json.dumps({"messages_per_s": count / seconds}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5])))
