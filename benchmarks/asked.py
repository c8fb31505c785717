"""Who asks over HTTP: `python -m benchmarks.asked PORT PATH SECONDS`, `PATH` with `{}` for a random key; of 0 seconds
each key is asked for once.

Connections that are kept, each with one request under way, as wrk has them; bytes are only counted, not parsed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator

CONNECTIONS = 32
KEYS = 10_000


async def main(port: int, path: str, seconds: float) -> None:
    """Requests a second, and how long one in a hundred takes at least."""
    took_s: list[float] = []
    began_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            each = range(number, KEYS, CONNECTIONS)
            keys = _random(number, until=began_at + seconds) if seconds else iter(each)
            group.create_task(_ask(port, path, keys, took_s))
    per_s = len(took_s) / (time.perf_counter() - began_at)
    took_s.sort()
    print(json.dumps({"requests_per_s": per_s, "p99_ms": took_s[len(took_s) * 99 // 100] * 1000}))


def _random(seed: int, *, until: float) -> Iterator[int]:
    keys = random.Random(seed)
    while time.perf_counter() < until:
        yield keys.randrange(KEYS)


async def _ask(port: int, path: str, keys: Iterator[int], took_s: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for key in keys:
        began_at = time.perf_counter()
        asked = path.format(key)
        writer.write(f"GET {asked} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
        took_s.append(time.perf_counter() - began_at)
    writer.close()


async def measured(port: int, path: str, seconds: float) -> dict[str, float]:
    """By a process of its own: whoever answers has this one to itself."""
    command = [sys.executable, "-m", "benchmarks.asked", str(port), path, str(seconds)]
    asking = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await asking.communicate()
    assert asking.returncode == 0
    figures: dict[str, float] = json.loads(told)
    return figures


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
