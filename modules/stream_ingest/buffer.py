"""Events that wait for their file: a batch of a stream is small, and a file of a lake should not be.

They wait in the partition's state, as they came: each batch adds its piece in its own transaction, and the batch that
writes the file forgets all pieces in the transaction that makes the file whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from contracts.event import Lake

PIECE_BYTES = 32 << 20
"""A piece of state has a bound, and a message that is larger than this has a piece of its own."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """What one batch left, or a part of it. Positions are texts: they take up to 127 bits."""

    first: str
    last: str
    came_at: datetime
    refused: int
    raws: list[bytes]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.raws))


class Buffer:
    """Of one partition; a restored one is equal to the one that saved its pieces."""

    def __init__(self) -> None:
        self.pieces: dict[str, Piece] = {}
        self.rows = 0
        self.bytes = 0
        self._next = 0

    @classmethod
    def of(cls, saved: Mapping[str, bytes]) -> Buffer:
        """Made of what `add` gave to be saved."""
        made = cls()
        for name in sorted(saved):
            made._keep(name, msgspec.msgpack.decode(saved[name], type=Piece))
        return made

    def add(self, raws: Sequence[bytes], positions: range, *, came_at: datetime, refused: int) -> list[str]:
        """Returns the names of the pieces that are new."""
        first, last = str(positions[0]), str(positions[-1])
        names: list[str] = []
        for part in _split(raws):
            name = f"rows/{self._next:012}"
            self._keep(name, Piece(first, last, came_at, 0 if names else refused, part))
            names.append(name)
        return names

    def encoded(self, name: str) -> bytes:
        return msgspec.msgpack.encode(self.pieces[name])

    def due(self, lake: Lake, now: datetime) -> bool:
        """Whether it is time to write a file."""
        if not self.pieces:
            return False
        if self.rows >= lake.rows or self.bytes >= lake.bytes:
            return True
        return now - self._pieces()[0].came_at >= timedelta(seconds=lake.wait_s)

    @property
    def raws(self) -> list[bytes]:
        """The messages, in order."""
        return [raw for piece in self._pieces() for raw in piece.raws]

    @property
    def refused(self) -> int:
        """Messages between the first position and the last one that were refused."""
        return sum(piece.refused for piece in self._pieces())

    @property
    def positions(self) -> tuple[int, int]:
        """The first and the last one that the messages come from."""
        pieces = self._pieces()  # what was parked comes late, so a later piece may begin below
        return min(int(piece.first) for piece in pieces), max(int(piece.last) for piece in pieces)

    def clear(self) -> list[str]:
        """Everything is elsewhere; returns the names of the pieces that there were."""
        names = list(self.pieces)
        self.pieces.clear()
        self.rows = self.bytes = 0
        return names

    def _keep(self, name: str, piece: Piece) -> None:
        self.pieces[name] = piece
        self.rows += len(piece.raws)
        self.bytes += piece.size_bytes
        self._next = int(name.rpartition("/")[2]) + 1

    def _pieces(self) -> list[Piece]:
        return list(self.pieces.values())


def _split(raws: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and size + len(raw) > PIECE_BYTES:
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield part
