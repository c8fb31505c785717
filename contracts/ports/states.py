"""What handlers keep of each partition in the ledger: pieces of bytes by name, that belong to the positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from contracts.ports.database import Tx
from contracts.ports.partitions import Hold

PIECE_BYTES = 64 << 20
"""A larger piece is refused: save it in parts."""
NAME_LENGTH = 200


class States(Protocol):
    """The state of a partition is forgotten with its position: by a reset, and where the address was made anew and the
    bus forgets. All raise `Unavailable` when the store does not answer."""

    async def load(self, hold: Hold) -> Mapping[str, bytes]:
        """Everything that is kept of the partition, as last committed. Raises `LeaseLost`."""
        ...

    async def save(self, hold: Hold, changes: Mapping[str, bytes | None], *, tx: Tx) -> None:
        """Keep these pieces, and forget those that are None, within a transaction of the hold: the last that is done
        there, since others wait for its rows. Raises `LeaseLost`, `BadInput` for what can't be kept."""
        ...
