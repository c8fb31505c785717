"""Files in a bucket: our adapter on aiobotocore against obstore, each in a process of its own, on one MinIO.

What is large is written from a stream and read as one, what is small is put and got with 16 at a time. Both sides of
the wire share the machine, so CPU seconds of the client tell more than the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from adapters.clock.system import SystemClock
from adapters.files.s3.bucket import Bucket
from adapters.files.s3.files import S3Files
from benchmarks import rounds
from tests.kit.buckets import bucket_at, fresh_bucket, keys_of
from tests.kit.services import Minio, Running

LARGE_BYTES = 256 << 20
PIECE = bytes(range(256)) * 4096
SMALL = PIECE[:4096]
SMALL_COUNT = 1000
AT_ONCE = 16


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(LARGE_BYTES // len(PIECE)):
        yield PIECE


class Millrace:
    def __init__(self, bucket: Bucket) -> None:
        self.files = S3Files(bucket, clock=SystemClock())

    async def open(self) -> None:
        await self.files.open()

    async def write(self, path: str) -> None:
        await self.files.write(path, pieces())

    async def read(self, path: str) -> int:
        return sum([len(chunk) async for chunk in self.files.stream(path)])

    async def put_get(self, path: str) -> None:
        await self.files.write(path, SMALL)
        assert await self.files.read(path) == SMALL

    async def close(self) -> None:
        await self.files.close()


class Obstore:
    """What our adapter does of a small file (a put, a head for what `write` returns, a get), by obstore."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.store: Any = None

    async def open(self) -> None:
        from obstore.store import S3Store

        access_key, secret_key = await keys_of(self.bucket)
        self.store = S3Store(
            self.bucket.name,
            endpoint=self.bucket.endpoint,
            region=self.bucket.region,
            access_key_id=access_key,
            secret_access_key=secret_key,
            client_options={"allow_http": True},
        )

    async def write(self, path: str) -> None:
        import obstore

        await obstore.put_async(self.store, path, pieces(), use_multipart=True, chunk_size=8 << 20, max_concurrency=8)

    async def read(self, path: str) -> int:
        import obstore

        got = await obstore.get_async(self.store, path)
        size = 0
        async for chunk in got.stream(min_chunk_size=1 << 20):
            size += len(bytes(chunk))
        return size

    async def put_get(self, path: str) -> None:
        import obstore

        await obstore.put_async(self.store, path, SMALL, use_multipart=False)
        await obstore.head_async(self.store, path)
        got = await obstore.get_async(self.store, path)
        assert bytes(await got.bytes_async()) == SMALL

    async def close(self) -> None:
        pass


CONTESTANTS: dict[str, Callable[[Bucket], Any]] = {"millrace": Millrace, "obstore": Obstore}


async def measured(name: str, bucket: Bucket) -> rounds.Figures:
    contestant = CONTESTANTS[name](bucket)
    await contestant.open()
    gate = asyncio.Semaphore(AT_ONCE)

    async def small(number: int) -> None:
        async with gate:
            await contestant.put_get(f"small/{number}")

    write_s = await _took(contestant.write("large"))
    read_s = await _took(contestant.read("large"))
    small_s = await _took(asyncio.gather(*map(small, range(SMALL_COUNT))))
    await contestant.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "write MB/s": LARGE_BYTES / 1e6 / write_s,
        "read MB/s": LARGE_BYTES / 1e6 / read_s,
        "small per s": SMALL_COUNT / small_s,
        "CPU s": used.ru_utime + used.ru_stime,
        "peak MB": used.ru_maxrss / 1000,
    }


async def _took(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def in_turn(server: Running, count: int) -> None:
    async with fresh_bucket(server) as bucket:
        contestants = {
            name: ("-m", "benchmarks.buckets", "--one", name, "--bucket", bucket.name, "--url", server.url)
            for name in CONTESTANTS
        }
        found = await asyncio.to_thread(rounds.run, contestants, rounds=count)
    print(rounds.table(found))
    for key in ("write MB/s", "read MB/s", "small per s", "CPU s"):
        print(rounds.ratio(found, "millrace", "obstore", key))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.buckets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for hidden in ("--one", "--bucket", "--url"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(asyncio.run(measured(given.one, bucket_at(given.url, given.bucket)))))
        return 0
    minio = Minio()
    try:
        if (running := minio.start()) is None:
            print("; ".join(minio.reasons), minio.remedy, file=sys.stderr)
            return 1
        asyncio.run(in_turn(running, given.rounds))
    finally:
        minio.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
