"""What both ledgers say when a hold is over or a partition can't be had."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import Conflict, LeaseLost
from contracts.message import Partition
from contracts.ports.partitions import Hold, Span


def lost(hold: Hold, why: str = "") -> LeaseLost:
    """For a hold that another one has followed."""
    where = f"{hold.partition.address}/{hold.partition.index} of group {hold.group}"
    more = f", {why}" if why else ""
    return LeaseLost(f"{where}: another worker has taken it since epoch {hold.epoch}{more}: nothing was changed")


def finished_before(hold: Hold, spans: Sequence[Span]) -> LeaseLost:
    """For spans of which a part was finished already."""
    told = ", ".join(f"{first} to {past - 1}" if past > first + 1 else str(first) for first, past in spans[:5])
    return lost(hold, f"or positions {told}{', …' if len(spans) > 5 else ''} were finished before")


def other_incarnation(group: str, partition: Partition, *, stored: str, came: str, position: int) -> Conflict:
    """For an address that was deleted and made anew."""
    address = partition.address
    return Conflict(
        f"group {group} stands at position {position} of {address}/{partition.index}, which means nothing any more: "
        f"{address} was deleted and made anew (it was {stored!r}, now it is {came!r}). Nothing is taken from it until "
        f"someone says where to begin: `millrace positions reset {group} {address}`"
    )


def still_held(group: str, address: str, holders: Sequence[tuple[int, str]]) -> Conflict:
    """For positions that would be taken from under a living worker."""
    told = ", ".join(f"{address}/{index} by worker {worker_id}" for index, worker_id in holders[:5])
    return Conflict(
        f"group {group} is at work on {address} ({told}{', …' if len(holders) > 5 else ''}): "
        "stop its workers, then reset the positions"
    )
