"""The state of a partition, as the handler of one batch sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from contracts.errors import Blocked
from contracts.message import Delivery, Partition
from contracts.ports import Tx
from contracts.ports.partitions import Hold
from contracts.ports.states import States
from runtime.streams.partition import OwnedPartition

T = TypeVar("T")


class BatchState:
    """Implements `State` for one attempt: what is in memory belongs to the partition, and outlives only attempts that
    were committed. Attempts at one partition take turns, from `begin` to `end`."""

    def __init__(self, states: States, owned: OwnedPartition, hold: Hold, deliveries: Sequence[Delivery]) -> None:
        self._states = states
        self._owned = owned
        self._hold = hold
        self._deliveries = deliveries
        self._changes: dict[str, bytes | None] = {}

    async def begin(self) -> None:
        await self._owned.turn.acquire()

    def end(self, *, well: bool) -> None:
        if not well:
            self._owned.memory = None
        self._owned.turn.release()

    @property
    def changed(self) -> bool:
        return bool(self._changes)

    async def keep(self, tx: Tx) -> None:
        """Within the transaction of the batch, as its last."""
        await self._states.save(self._hold, self._changes, tx=tx)

    # What the handler sees.

    @property
    def partition(self) -> Partition:
        return self._owned.assignment.partition

    @property
    def positions(self) -> range | None:
        if not self._deliveries:
            return None
        return range(self._deliveries[0].position, self._deliveries[-1].position + 1)

    async def restored(self, make: Callable[[Mapping[str, bytes]], T]) -> T:
        memory: Any = self._owned.memory
        if memory is None:
            memory = self._owned.memory = self._made(make, await self._states.load(self._hold))
        return memory  # type: ignore[no-any-return]

    def _made(self, make: Callable[[Mapping[str, bytes]], T], saved: Mapping[str, bytes]) -> T:
        try:
            return make(saved)
        except msgspec.MsgspecError as error:
            # Not the messages' fault, which are well: none of them may be buried for it.
            raise Blocked(
                f"the state of {self.partition.address}/{self.partition.index} can't be read ({error}), as if another "
                "version had saved it: it waits for a worker of that version"
            ) from error

    def save(self, name: str, data: bytes | None) -> None:
        self._changes[name] = data
