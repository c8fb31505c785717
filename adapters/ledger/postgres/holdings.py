"""What this process holds by the answers that it got, against what the ledger took as claimed by it.

When the answer to a claim is lost (a cut connection, a cancelled call), the ledger may have put jobs down as running
whose claims nobody has: their worker lives, so no reaper takes them. They are put back before the next claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from contracts.job import Claim

PutBack = Callable[[str, list[str], list[int]], Awaitable[None]]


class Holdings:
    """The fences of claims that were handed out and not settled, by job."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, str]] = {}
        self._astray: set[str] = set()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._repairing = asyncio.Lock()

    @asynccontextmanager
    async def claiming(self, worker_id: str, put_back: PutBack) -> AsyncIterator[None]:
        """Around a claim: puts right what an earlier one left, and remembers when this one fails."""
        if worker_id in self._astray:
            async with self._repairing:
                await self._idle.wait()  # each claim under way has a deadline; after them what is held is known
                if worker_id in self._astray:
                    held = [(id_, fence) for id_, (fence, holder) in self._held.items() if holder == worker_id]
                    await put_back(worker_id, [id_ for id_, _ in held], [fence for _, fence in held])
                    self._astray.discard(worker_id)
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        except BaseException:
            self._astray.add(worker_id)
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def took(self, worker_id: str, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._held[claim.id] = (claim.fence, worker_id)

    def ended(self, claims: Iterable[Claim]) -> None:
        """Settled, or lost to another fence."""
        for claim in claims:
            if (held := self._held.get(claim.id)) and held[0] <= claim.fence:
                del self._held[claim.id]

    def forget(self, worker_id: str) -> None:
        """The worker left, or lost its lease: nothing is its own any more."""
        self._astray.discard(worker_id)
        self._held = {id_: held for id_, held in self._held.items() if held[1] != worker_id}
