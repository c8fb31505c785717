"""Commands that were accepted here and that the ledger may not know yet."""

from __future__ import annotations

from collections import OrderedDict

KEPT = 10_000


class Accepted:
    """The most recent ones; the oldest is forgotten first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._addresses: OrderedDict[str, str] = OrderedDict()

    def add(self, job_id: str, address: str) -> None:
        self._addresses[job_id] = address
        self._addresses.move_to_end(job_id)
        if len(self._addresses) > self._kept:
            self._addresses.popitem(last=False)

    def address_of(self, job_id: str) -> str | None:
        """None when it was not accepted here, or too long ago."""
        return self._addresses.get(job_id)

    def forget(self, job_id: str) -> None:
        """The ledger knows it."""
        self._addresses.pop(job_id, None)
