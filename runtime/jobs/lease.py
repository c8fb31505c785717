"""The worker's lease: joined once, renewed all the time, and given up in time when it can't be renewed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from contracts.errors import Unavailable
from contracts.ports import Clock, Log
from contracts.ports.ledger import Leases, Worker
from runtime.policy.lease import LeaseKeeper


class Lease:
    """`worker_id` is empty while no lease is held. `on_lost` hears that everything claimed belongs to others."""

    def __init__(
        self, leases: Leases, worker: Worker, *, lease_s: float, clock: Clock, log: Log, on_lost: Callable[[], None]
    ) -> None:
        self._leases = leases
        self._worker = worker
        self._lease_s = lease_s
        self._clock = clock
        self._log = log
        self._on_lost = on_lost
        self._keeper: LeaseKeeper | None = None

    @property
    def worker_id(self) -> str:
        return self._worker.id if self._keeper else ""

    @property
    def row_id(self) -> str:
        """The id that this worker has, or had last, in the ledger."""
        return self._worker.id

    async def join(self, *, http: str = "") -> None:
        """Take a lease under a fresh id: what an earlier one claimed can't be mistaken for ours."""
        self._worker = msgspec.structs.replace(self._worker, id=self._clock.new_id(), http=http or self._worker.http)
        sent_at = self._clock.monotonic()
        await self._leases.join(self._worker, lease_s=self._lease_s)
        self._keeper = LeaseKeeper(self._lease_s, sent_at)

    async def leave(self) -> None:
        if self._keeper:
            self._keeper = None
            await self._leases.leave(self._worker.id)

    async def run(self) -> None:
        """The loop: renew, and join again after a loss."""
        while True:
            if self._keeper is None:
                await self.join()
            assert self._keeper is not None
            await self._clock.sleep(self._keeper.next_renewal_in_s(self._clock.monotonic()))
            if not await self._renew(self._keeper):
                self._keeper = None
                self._log.error("the lease is lost; what it held belongs to others now", worker=self._worker.id)
                self._on_lost()

    async def _renew(self, keeper: LeaseKeeper) -> bool:
        """Tries until the lease is renewed, refused, or run out."""
        while not keeper.lost(sent_at := self._clock.monotonic()):
            try:
                async with self._clock.timeout(self._lease_s / 3):
                    if not await self._leases.renew(self._worker.id, lease_s=self._lease_s):
                        return False
                keeper.renewed(sent_at)
                return True
            except (Unavailable, TimeoutError) as error:
                self._log.warn("the lease could not be renewed yet", worker=self._worker.id, error=str(error))
                await self._clock.sleep(min(1.0, self._lease_s / 15))
        return False
