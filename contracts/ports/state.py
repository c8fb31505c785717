"""What a stream's handler remembers of a partition, from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from contracts.message import Partition

T = TypeVar("T")


class State(Protocol):
    """Of one batch route and one partition. An object of the handler's own stays in memory while the partition is held,
    and what it saves is committed together with the effects and the position of the batch: whoever has the partition
    next begins with exactly what was saved last.

        windows = await state.restored(Windows.of)
        windows.add(batch)
        state.save("windows", windows.encoded())

    When the attempt fails, nothing was saved, and the object is made anew for the next one.
    """

    @property
    def partition(self) -> Partition: ...

    @property
    def positions(self) -> range | None:
        """From the first of this batch to its last; None for a tick, which brings no messages."""
        ...

    async def restored(self, make: Callable[[Mapping[str, bytes]], T]) -> T:
        """The object as the batch before has left it in memory; else made of all that was saved, by name. What `make`
        raises of msgspec's errors is raised as `Blocked`: another version has saved that, and may read it."""
        ...

    def save(self, name: str, data: bytes | None) -> None:
        """Keep `data` under `name` (1 to 200 characters) from this batch on; None forgets it. Raises `BadInput` for a
        piece over 64 MB: save it in parts."""
        ...
