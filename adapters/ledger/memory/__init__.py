"""The ledger in memory, on the Clock port: for tests and simulation. Nothing in it outlives the process."""

from __future__ import annotations

from adapters.ledger.memory.ledger import MemoryLedger

__all__ = ["MemoryLedger"]
