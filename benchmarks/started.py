"""When each message was started, by its number: a file that a worker, all its processes, and whoever measures share."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

STARTED = "BENCH_STARTED"
"""The variable of the environment that names the file."""
SIZE_BYTES = 8
LOOK_EVERY_S = 0.1
END_WAIT_S = 300.0


class Started:
    """Eight bytes a message, so that writing one down costs a third of a microsecond, in whichever process."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._at: memoryview[float] = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    def __call__(self, number: int) -> None:
        """The handler of message `number` begins."""
        self._at[number] = time.perf_counter()

    def wait(self, goes_on: Callable[[], bool]) -> None:
        """Until every message was started. Raises `RuntimeError` when that doesn't go on."""
        ends_at = time.perf_counter() + END_WAIT_S
        while missing := sum(not at for at in self._at.tolist()):
            if time.perf_counter() > ends_at or not goes_on():
                raise RuntimeError(f"{missing} of {len(self._at)} messages were not started")
            time.sleep(LOOK_EVERY_S)  # noqa: TID251 - for another process

    def per_s(self) -> float:
        """(messages - 1) / (last start - first start)."""
        at = self._at.tolist()
        return (len(at) - 1) / (max(at) - min(at))


def told() -> Started:
    """The file that the environment names."""
    return Started(os.environ[STARTED])
