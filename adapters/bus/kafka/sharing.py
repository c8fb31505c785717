"""Who gets which partition of a topic: evenly, with as few moves as can be, and never two owners at once.

The idea is Kafka's cooperative rebalancing (KIP-429), done by the members alone. Each says what it holds. The leader
leaves that with its owner up to an even share; what is above it is given to nobody in this round. Its owner sees that
it is missing, finishes and commits, and joins again without claiming it: then it is free.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.bus.spread import spread


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What a member says when it joins: what it holds, and the last generation of the group that it was part of."""

    generation: int = 0
    partitions: tuple[int, ...] = ()


def shared(partitions: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Each member's partitions in the coming generation; what is claimed is left with its claimant or out.

    Of two that claim one partition, the later generation is right. Deterministic.
    """
    held: dict[int, str] = {}
    members = sorted(claims, key=lambda member: (-claims[member].generation, member))
    for member in members:
        for index in claims[member].partitions:
            if 0 <= index < partitions:
                held.setdefault(index, member)
    given: dict[str, list[int]] = {member: [] for member in members}
    for index, member in sorted(spread(partitions, sorted(members), held).items()):
        if held.get(index, member) == member:
            given[member].append(index)
    return given
