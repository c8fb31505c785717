"""Several workers on one stream: `python -m benchmarks.scaled BUS SERVER WORKERS COUNT [TAKES_S]`: messages a second.

The workers are started on an empty stream. When each holds its share of the partitions, by the ledger, the messages are
published, the same number to each partition and in turn, so that every worker has some until the end. The clock runs
from the first that is handled, by whichever worker, to the last.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import NamedTemporaryFile, TemporaryDirectory

import asyncpg
import msgspec

from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.bus.redis_stream.keys import partition_of
from adapters.clock.system import SystemClock
from benchmarks.millrace_redis import DATABASE
from benchmarks.small_message import Small
from benchmarks.started import SIZE_BYTES, STARTED, Started, told
from benchmarks.workers import serve, settings_of
from contracts.message import Envelope
from contracts.module import Module
from runtime.worker import Worker
from tests.kit.services import Running
from tests.kit.topics import fresh_topic
from tests.kit.waiting import until

PARTITIONS, KEYS = 8, 40
"""So many partitions, and so many keys in each."""
LANES, TAKES_S = 8, 0.005
AT_ONCE = 1000
SHARED_WAIT_S = 180.0
HELD = """
select array_agg(held) from (
    select count(*) as held from millrace.partitions
    where address = $1 and index < $2 and worker_id is not null
    group by worker_id
) as shares
"""


async def main(bus: str, server: str, workers: int, count: int, takes_s: float = TAKES_S) -> None:
    """One measurement, with a handler that waits for so long."""
    share = PARTITIONS // workers
    async with _address(bus, server) as address:
        with _started(count) as started, _workers(workers, bus, server, address, str(takes_s)) as processes:
            connection = await asyncpg.connect(os.environ[DATABASE])

            async def shared() -> bool:
                return bool(await connection.fetchval(HELD, address, PARTITIONS) == [share] * workers)

            await until(shared, timeout_s=SHARED_WAIT_S, what=f"{workers} workers with {share} partitions each")
            await connection.close()
            await (_fill_kafka if bus == "kafka" else _fill_redis)(server, address, count)
            await asyncio.to_thread(started.wait, lambda: all(process.poll() is None for process in processes))
    print(json.dumps({"messages_per_s": started.per_s()}))


@asynccontextmanager
async def _address(bus: str, server: str) -> AsyncIterator[str]:
    if bus == "kafka":
        async with fresh_topic(
            Running(name="Kafka", url=server, how="given", end=lambda: None), partitions=PARTITIONS
        ) as topic:
            yield topic
    else:
        yield f"small-{secrets.token_hex(6)}"


@contextmanager
def _started(count: int) -> Iterator[Started]:
    with NamedTemporaryFile(prefix="millrace-bench-") as file:
        file.write(bytes(count * SIZE_BYTES))
        file.flush()
        os.environ[STARTED] = file.name
        yield Started(file.name)


@contextmanager
def _workers(count: int, *which: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-m", __spec__.name, "work", *which]
    processes = [subprocess.Popen(command, stdout=sys.stderr) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


def _messages(count: int) -> Iterator[tuple[int, int, bytes]]:
    """Partition, which of its keys, and body."""
    for number in range(count):
        turn, partition = divmod(number, PARTITIONS)
        yield partition, turn % KEYS, msgspec.json.encode(Small(number))


async def _fill_kafka(server: str, address: str, count: int) -> None:
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

    async with AIOKafkaProducer(bootstrap_servers=server, linger_ms=20) as producer:
        for partition, key, body in _messages(count):
            await producer.send(address, body, key=b"%d-%d" % (partition, key), partition=partition)
        await producer.flush()


async def _fill_redis(server: str, address: str, count: int) -> None:
    keys: list[list[str]] = [[] for _ in range(PARTITIONS)]
    for key in map(str, range(100 * PARTITIONS * KEYS)):
        keys[partition_of(key, PARTITIONS)].append(key)
    bus = RedisStreamBus(server, clock=SystemClock())
    bus.declare(address, PARTITIONS)
    await bus.open()
    envelopes = [
        Envelope(id="", address=address, body=body, key=keys[partition][key])
        for partition, key, body in _messages(count)
    ]
    for first in range(0, count, AT_ONCE):
        await bus.publish(*envelopes[first : first + AT_ONCE])
    await bus.close()


async def work(bus: str, server: str, address: str, takes_s: str) -> None:
    """One worker, until it is told to end."""
    module = Module("bench", kind="service", summary="Waits.")
    started = told()

    @module.stream(address, Small, group="bench", lanes=LANES, partitions=PARTITIONS)
    async def handle(message: Small) -> None:
        started(message.number)
        await asyncio.sleep(float(takes_s))  # noqa: TID251 - what the handler takes

    with TemporaryDirectory() as directory:
        await serve(Worker(settings_of(directory, os.environ[DATABASE], bus, server), [module]))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        asyncio.run(work(*sys.argv[2:]))
    else:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *map(float, sys.argv[5:])))
