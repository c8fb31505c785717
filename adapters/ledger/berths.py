"""Where positions stand of a bus that no two processes share: each process has rows of its own.

Under the same names they have different messages there, so one must not fence the other. The rows of a partition lie
`APART` indexes from each other, the first one at the partition's own; a process takes the first that no other living
one has, so that those of the last run are found again.
"""

from __future__ import annotations

from contracts.message import Partition

APART = 1 << 20


def berth(partition: Partition, number: int) -> Partition:
    """The row of the process that came as the `number`th, from 0."""
    return Partition(partition.address, partition.index + number * APART)


def same_place(one: Partition, other: Partition) -> bool:
    """Whether they are rows of one partition."""
    return one.address == other.address and (one.index - other.index) % APART == 0
