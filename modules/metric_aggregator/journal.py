"""How the windows of a partition are saved: each batch what it changed, and now and then everything.

    change/000000000007   what a batch changed, on top of what stands before it
    base/000001           a part of everything, as it was when there were as many changes as it weighs

So a batch saves what it changed, and its share of a base: at most about twice that. Whoever restores reads the base,
then the changes in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from modules.metric_aggregator.layout import decoded_by, encoded_by
from modules.metric_aggregator.store import Row

PIECE_BYTES = 8 << 20
SMALL_BASE_BYTES = 1 << 20
PIECE_COST_BYTES = 16 << 10
"""What a change counts beside its bytes: so there are never too many of them to read, either."""

Save = Callable[[str, bytes | None], None]


class Header(msgspec.Struct, array_like=True, frozen=True):
    """Of each piece. `made_for` is a fingerprint of what decides how the rows are to be read."""

    made_for: str
    time: tuple[int, int, int]


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """As it is written: rows are encoded already, one by one, so that a piece doesn't grow too large."""

    header: Header
    rows: list[msgspec.Raw]


class Journal:
    """What is saved of one partition, and what of it a new base would make needless."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=encoded_by)
        self._changes: list[str] = []
        self._bases: list[str] = []
        self._base_bytes = 0
        self._changes_bytes = 0
        self._next = 0

    @property
    def saved_bytes(self) -> int:
        """What there is to restore."""
        return self._base_bytes + self._changes_bytes - PIECE_COST_BYTES * len(self._changes)

    def write(
        self, save: Save, header: Header, *, changed: Iterable[Row], everything: Callable[[], Iterable[Row]]
    ) -> None:
        """Save a batch. Without any row its header is saved."""
        if self._changes_bytes < max(self._base_bytes, SMALL_BASE_BYTES):
            for piece in self._pieces(header, changed):
                name = f"change/{self._next:012}"
                self._next += 1
                self._changes.append(name)
                self._changes_bytes += len(piece) + PIECE_COST_BYTES
                save(name, piece)
            return
        for name in self._changes:
            save(name, None)
        before, self._bases, self._changes = self._bases, [], []
        self._base_bytes = self._changes_bytes = 0
        for at, piece in enumerate(self._pieces(header, everything())):
            name = f"base/{at:06}"
            self._bases.append(name)
            self._base_bytes += len(piece)
            save(name, piece)
        for name in before[len(self._bases) :]:
            save(name, None)

    def _pieces(self, header: Header, rows: Iterable[Row]) -> Iterator[bytes]:
        taken: list[msgspec.Raw] = []
        taken_bytes, written = 0, False
        for row in rows:
            encoded = self._encoder.encode(row)
            if taken and taken_bytes + len(encoded) > PIECE_BYTES:
                yield self._encoder.encode(Piece(header, taken))
                taken, taken_bytes, written = [], 0, True
            taken.append(msgspec.Raw(encoded))
            taken_bytes += len(encoded)
        if taken or not written:
            yield self._encoder.encode(Piece(header, taken))

    def read(self, saved: Mapping[str, bytes]) -> Sequence[bytes]:
        """The pieces, in the order in which they are to be restored."""
        self._bases = sorted(name for name in saved if name.startswith("base/"))
        self._changes = sorted(name for name in saved if name.startswith("change/"))
        self._base_bytes = sum(len(saved[name]) for name in self._bases)
        self._changes_bytes = sum(len(saved[name]) + PIECE_COST_BYTES for name in self._changes)
        if self._changes:
            self._next = int(self._changes[-1].partition("/")[2]) + 1
        return [saved[name] for name in (*self._bases, *self._changes)]


def decoder_of(key: Any, kept: Any) -> msgspec.msgpack.Decoder[tuple[Header, list[Row]]]:
    """Reads a piece whose rows have such keys, and such things kept under them."""
    row = tuple[int, list[tuple[key, kept]]]
    return msgspec.msgpack.Decoder(tuple[Header, list[row]], dec_hook=decoded_by)


def header_of(piece: bytes) -> Header:
    """Which can be read whatever the rows are."""
    return _HEADER.decode(piece).header


_HEADER = msgspec.msgpack.Decoder(Piece)
