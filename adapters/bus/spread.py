"""Who is to own which partition, where the members of a group decide it themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

Owner = TypeVar("Owner")


def spread(count: int, owners: Sequence[Owner], held: Mapping[int, Owner]) -> dict[int, Owner]:
    """Who gets which of `count` partitions: nobody has two more than another, and as few as possible move.

    `held` is who has them now; those who hold more keep the larger share. Without owners the result is empty. Whoever
    asks with the same arguments gets the same answer.
    """
    if not owners:
        return {}
    holdings: dict[Owner, list[int]] = {owner: [] for owner in owners}
    for index, owner in sorted(held.items()):
        if owner in holdings:
            holdings[owner].append(index)
    share, larger = divmod(count, len(owners))
    shares: dict[Owner, int] = {}
    for rank, owner in enumerate(sorted(owners, key=lambda owner: -len(holdings[owner]))):
        shares[owner] = share + (rank < larger)
    target = {index: owner for owner in owners for index in holdings[owner][: shares[owner]]}
    orphans = iter([index for index in range(count) if index not in target])
    for owner in owners:
        for _ in range(shares[owner] - min(len(holdings[owner]), shares[owner])):
            target[next(orphans)] = owner
    return target
