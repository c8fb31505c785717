"""The living workers beside this one, which may be of another version: what it can't read may be theirs.

While a new version rolls out, an old worker meets messages with fields that it doesn't know. It must not bury them, for
whoever has its partition next, or its job, may read them well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from contracts import outcome
from contracts.errors import Unavailable
from contracts.module import Module
from contracts.ports import Ledger
from runtime.policy.retry import UNAVAILABLE_RETRY_S, UNDECODABLE
from runtime.schema import fingerprint_of

LEFT_FOR_S = 5.0
"""Before an old worker looks again whether what it can't read has become its own to bury."""


def contracts_of(modules: Sequence[Module]) -> dict[str, str]:
    """How they read the messages of each address, as a fingerprint."""
    return {route.address: fingerprint_of(route.contract) for module in modules for route in module.routes}


class Peers:
    """`contracts` are those of this worker."""

    def __init__(self, ledger: Callable[[], Ledger], contracts: Mapping[str, str]) -> None:
        self._ledger = ledger
        self.contracts = contracts

    async def reader_of(self, address: str) -> str | None:
        """A living worker that reads messages of `address` otherwise than this one, as text for people; None: all that
        have the address read them as this one does."""
        mine = self.contracts.get(address)
        for worker in await self._ledger().leases.workers():
            if worker["contracts"].get(address, mine) != mine:
                return f"worker {worker['id']} ({worker['host']}, version {worker['version']})"
        return None

    async def judged(self, became: outcome.Outcome, address: str) -> outcome.Outcome:
        """The outcome of an attempt; what could not be decoded is left for a worker that may be able to."""
        if not isinstance(became, outcome.Dead) or became.reason != UNDECODABLE:
            return became
        try:
            reader = await self.reader_of(address)
        except Unavailable as error:
            return outcome.Release(reason=str(error), after_s=UNAVAILABLE_RETRY_S)
        if reader is None:
            return became
        reason = (
            f"it can't be decoded here, and {reader} has another contract: it is left for that version: {became.error}"
        )
        return outcome.Release(reason=reason, after_s=LEFT_FOR_S, blocked=True)
