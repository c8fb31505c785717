"""Suspects run alone: while any of them waits or runs, no other message of a stream is started in this process.

So when the process dies again, the message that was charged is the one that did it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Solitude:
    """Counts what runs, over all stream routes of the process."""

    def __init__(self) -> None:
        self._suspects: deque[Callable[[], None]] = deque()
        self._alone = False
        self._running = 0
        self._resume: list[Callable[[], None]] = []

    def on_reopened(self, resume: Callable[[], None]) -> None:
        """`resume` is called when others may be started again."""
        self._resume.append(resume)

    @property
    def closed(self) -> bool:
        return self._alone or bool(self._suspects)

    def suspect(self, start: Callable[[], None]) -> None:
        """Call `start` when nothing else runs; whoever is started calls `began` and `ended` as everybody does."""
        self._suspects.append(start)
        self._next()

    def began(self) -> None:
        self._running += 1

    def ended(self) -> None:
        self._running -= 1
        if not self._running and (self._alone or self._suspects):
            self._alone = False
            self._next()

    def _next(self) -> None:
        while self._suspects and not self._running:
            start = self._suspects.popleft()
            self._alone = True
            start()
            self._alone = self._running > 0  # else it was not started after all
        if not self.closed:
            for resume in self._resume:
                resume()
