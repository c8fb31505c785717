"""The ledger in memory: its parts and their life."""

from __future__ import annotations

from adapters.ledger.memory.books import Books
from adapters.ledger.memory.dead_letters import MemoryDeadLetters
from adapters.ledger.memory.desk import MemoryDesk
from adapters.ledger.memory.leases import MemoryLeases
from adapters.ledger.memory.outbox import MemoryOutbox
from adapters.ledger.memory.parking import MemoryParking
from adapters.ledger.memory.partitions import MemoryPartitions
from adapters.ledger.memory.queue import MemoryQueue
from adapters.ledger.memory.states import MemoryStates
from contracts.ports.clock import Clock


class MemoryLedger:
    """Implements `Ledger`."""

    address = "memory"

    def __init__(self, clock: Clock) -> None:
        self._books = Books(clock)
        self.leases = MemoryLeases(self._books)
        self.queue = MemoryQueue(self._books)
        self.desk = MemoryDesk(self._books)
        self.partitions = MemoryPartitions(self._books)
        self.states = MemoryStates(self._books)
        self.outbox = MemoryOutbox(self._books)
        self.parking = MemoryParking(self._books, self.partitions)
        self.dead_letters = MemoryDeadLetters(self._books, self.parking, self.queue)

    async def open(self) -> None:
        self._books.open = True

    async def check(self) -> None:
        return

    async def close(self) -> None:
        self._books.open = False
        self._books.wake()
        self.outbox.wake()

    async def identity(self) -> str:
        return self._books.id
