"""What every group has finished of one partition: the newest of it stays for a while, for who reads by time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from contracts.message import Delivery


class Past:
    """Pieces as they were finished: at most `most` messages and about `most_bytes` of them, the newest at least."""

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self.pieces: deque[Sequence[Delivery]] = deque()
        """In order of position, without a gap between them."""
        self.forgotten_at: datetime | None = None
        """When the newest message came that is not here any more."""
        self._most = most
        self._most_bytes = most_bytes
        self._sizes: deque[int] = deque()
        self._count = 0
        self._bytes = 0

    def add(self, piece: Sequence[Delivery], size_bytes: int) -> None:
        keep = max(1, min(len(piece), self._most, len(piece) * self._most_bytes // max(1, size_bytes)))
        self._append(piece[:-keep], 0)
        self._append(piece[-keep:], size_bytes * keep // len(piece))
        while self._count > keep and (self._count > self._most or self._bytes > self._most_bytes):
            gone = self.pieces.popleft()
            self._count -= len(gone)
            self._bytes -= self._sizes.popleft()
            self.forgotten_at = gone[-1].envelope.published_at

    def _append(self, piece: Sequence[Delivery], size_bytes: int) -> None:
        if piece:
            self.pieces.append(piece)
            self._sizes.append(size_bytes)
            self._count += len(piece)
            self._bytes += size_bytes
