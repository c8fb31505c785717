"""A replay by hand with aiokafka: `python -m benchmarks.baselines.replay_loop SERVERS TOPIC COUNT`.

Exactly once as far as Kafka can have it alone: what is sent and how far was read are one transaction of the broker. It
knows no resume by whoever is left, no report, no order over partitions, and no bound on what waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]

PARTITIONS = 8
ROWS = 2000


async def main(servers: str, topic: str, count: int) -> None:
    """Messages a second, from the first read to the last commit."""
    group, into = f"hand-{os.getpid()}", f"{topic}.hand.{os.getpid()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(into, PARTITIONS, 1)])
    await admin.close()
    reading = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    sending = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=group, linger_ms=5)
    async with reading, sending:
        began_at, done = 0.0, 0
        while done < count:
            fetched = await reading.getmany(timeout_ms=200, max_records=ROWS)
            if not fetched:
                continue
            began_at = began_at or time.perf_counter()
            async with sending.transaction():
                behind: dict[TopicPartition, int] = {}
                for partition, messages in fetched.items():
                    for message in messages:
                        await sending.send(into, message.value, key=message.key, headers=list(message.headers))
                    behind[partition] = messages[-1].offset + 1
                    done += len(messages)
                await sending.send_offsets_to_transaction(behind, group)
        seconds = time.perf_counter() - began_at
    print(json.dumps({"messages_per_s": count / seconds}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
