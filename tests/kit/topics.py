"""Topics of Kafka for one test alone."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kit.services import Running


@asynccontextmanager
async def fresh_topic(kafka: Running, *, partitions: int = 1, **settings: str) -> AsyncIterator[str]:
    """The name of a new topic, which is deleted when the block ends. Settings are named as in `retention_ms`."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]

    configs = {key.replace("_", "."): value for key, value in settings.items()}
    name = f"kit-{secrets.token_hex(6)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.url)
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        assert [error[:2] for error in created.topic_errors] == [(name, 0)], created
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()
