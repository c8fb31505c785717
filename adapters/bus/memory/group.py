"""Competing consumers: the members of a group share the partitions of an address evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.bus.memory.partition import Cursor, Records
from adapters.bus.spread import spread

if TYPE_CHECKING:
    from adapters.bus.memory.member import Member


class Group:
    """One group of one address: its cursors, its members, and who is to own which partition.

    Nothing here waits: members are told to reconcile and do the waiting themselves. A member that drains keeps what
    it has and is given nothing more.
    """

    def __init__(self, name: str, records: Sequence[Records]) -> None:
        self.name = name
        self.cursors = [Cursor(of) for of in records]
        self.epochs = [0] * len(records)
        self._members: list[Member] = []
        self._targets: dict[int, Member] = {}

    @property
    def lag(self) -> int:
        return sum(cursor.lag for cursor in self.cursors)

    @property
    def members(self) -> Sequence[Member]:
        return tuple(self._members)

    def join(self, member: Member) -> None:
        """Idempotent."""
        if member not in self._members:
            self._members.append(member)
            self.balance()

    def leave(self, member: Member) -> None:
        """Idempotent. What it holds is handed to others as it gives it up."""
        if member in self._members:
            self._members.remove(member)
            self.balance()
            member.reconcile()  # it gives up what it has

    def balance(self) -> None:
        """Decide anew who is to own what, and tell every member."""
        keeping = {index: m for m in self._members if m.draining for index in m.leases}
        free = [index for index in range(len(self.cursors)) if index not in keeping]
        active = [member for member in self._members if not member.draining]
        held = {place: m for place, index in enumerate(free) for m in active if index in m.leases}
        shared = spread(len(free), active, held)
        self._targets = keeping | {free[place]: member for place, member in shared.items()}
        for member in list(self._members):
            member.reconcile()

    def owner_to_be(self, index: int) -> Member | None:
        return self._targets.get(index)

    def given_up(self, index: int) -> None:
        """The partition is free: whoever is to own it takes it."""
        if owner := self._targets.get(index):
            owner.reconcile()
