"""The state of partitions, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from adapters.ledger import storable
from adapters.ledger.memory.books import Books, Row
from adapters.ledger.memory.tx import MemoryTx
from adapters.ledger.refusals import lost
from contracts.ports.database import Tx
from contracts.ports.partitions import Hold


class MemoryStates:
    """Implements `States`."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def load(self, hold: Hold) -> Mapping[str, bytes]:
        return dict(self._row(hold).state)

    async def save(self, hold: Hold, changes: Mapping[str, bytes | None], *, tx: Tx) -> None:
        storable.pieces(changes)
        assert isinstance(tx, MemoryTx)
        tx.stage(partial(_apply, self._row(hold), dict(changes)))

    def _row(self, hold: Hold) -> Row:
        if (row := self._books.row_of(hold)) is None:
            raise lost(hold)
        return row


def _apply(row: Row, changes: Mapping[str, bytes | None]) -> None:
    for name, data in changes.items():
        row.state.pop(name, None)
        if data is not None:
            row.state[name] = data
