"""Locks that end with the process that holds them, however it ends. What is locked is asked of the kernel: no list of
process ids can be out of date."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.01


class FileLock:
    """An advisory lock on a file, which is made when missing. It belongs to the open file: two locks in one process
    exclude each other, and a process that inherits the file shares it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, *, shared: bool = False) -> bool:
        """Without waiting; False: someone else has it. Taking it again changes its kind."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self, *, deadline: Deadline) -> None:
        """Raises `TimeoutError` at the deadline."""
        while not self.take():
            deadline.pause()

    def release(self) -> None:
        """Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def file(self) -> int:
        """The open file, to be inherited."""
        if self._file is None:
            raise ValueError("the lock is not taken")
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.release()


class Deadline:
    """A moment after which waiting is over."""

    def __init__(self, timeout_s: float, *, waiting_for: str) -> None:
        self._at = time.perf_counter() + timeout_s
        self._timeout_s = timeout_s
        self._waiting_for = waiting_for

    def pause(self) -> None:
        """Waits for a moment; raises `TimeoutError` when there is no time left."""
        if time.perf_counter() > self._at:
            raise TimeoutError(f"{self._waiting_for} took longer than {self._timeout_s:g} s")
        threading.Event().wait(POLL_S)
