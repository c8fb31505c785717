"""Which partitions of an address are whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from adapters.bus.spread import spread


def share_of(member: str, living: Sequence[str], owners: Mapping[int, str], partitions: int) -> set[int]:
    """What `member` is to own of the numbered partitions and of the bare address, whose index is `partitions`.

    Who drains, or is silent, keeps what it owns; the rest is spread over those who live, in order of their names. The
    bare address, on which there is seldom anything, goes to who has the fewest of the others: counted as one of them it
    would leave somebody with one less to do. Of several it goes to the last by name, who came last: the others may be
    giving something up.
    """
    free = [index for index in range(partitions + 1) if index not in owners or owners[index] in living]
    numbered = [index for index in free if index != partitions]
    held = {at: owners[index] for at, index in enumerate(numbered) if index in owners}
    spread_over = {numbered[at]: owner for at, owner in spread(len(numbered), living, held).items()}
    share = {index for index, owner in spread_over.items() if owner == member}
    if partitions in free and living:
        load = Counter(spread_over.values())
        if member == min(reversed(living), key=lambda each: (load[each], each != owners.get(partitions))):
            share.add(partitions)
    return share
