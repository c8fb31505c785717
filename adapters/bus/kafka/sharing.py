"""Who gets which partition of a topic: evenly, with as few moves as can be, and never two owners at once.

The idea is Kafka's cooperative rebalancing (KIP-429), done by the members alone. Each says what it holds. The leader
leaves that with its owner up to an even share; what is above it is given to nobody in this round. Its owner sees that
it is missing, finishes and commits, and joins again without claiming it; then it is free, and goes to whoever has
less than its share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What a member says when it joins: what it holds, and the last generation of the group that it was part of."""

    generation: int = 0
    partitions: tuple[int, ...] = ()


def shared(partitions: Collection[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Each member's partitions in the coming generation; what is claimed is left with its claimant or out.

    Of two that claim one partition, the later generation is right. Deterministic.
    """
    owned = _owned(partitions, claims)
    # Who holds more keeps more, so that the shares that are larger by one cost no move.
    members = sorted(claims, key=lambda member: (-len(owned[member]), member))
    least, larger = divmod(len(partitions), len(members)) if members else (0, 0)
    share = {member: least + (place < larger) for place, member in enumerate(members)}
    given = {member: owned[member][: share[member]] for member in members}
    claimed = {partition for kept in owned.values() for partition in kept}
    free = [partition for partition in sorted(partitions) if partition not in claimed]
    for member in members:
        room = share[member] - len(given[member])
        given[member] = sorted([*given[member], *free[:room]])
        free = free[room:]
    return given


def _owned(partitions: Collection[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    owner: dict[int, str] = {}
    for member in sorted(claims, key=lambda member: (-claims[member].generation, member)):
        for partition in claims[member].partitions:
            if partition in partitions:
                owner.setdefault(partition, member)
    owned: dict[str, list[int]] = {member: [] for member in claims}
    for partition in sorted(owner):
        owned[owner[partition]].append(partition)
    return owned
