"""How transactions under a fence are found in `pg_locks`, and ended when they stand still after it has moved on.

A worker that was stopped, or is out of reach, keeps what its open transactions have locked, for hours. It can't commit
them any more, but whoever has its work now would wait: for a row of the handler's, or a message of the outbox.
"""

from __future__ import annotations

from contracts.ports.partitions import Hold

STANDS_STILL_S = 5.0
"""A transaction that waits for its process for so long, and has lost its fence, does so for nothing."""
_BITS = 0x7FFFFFFF


def of_job(id_: str, fence: int) -> tuple[str, int]:
    """As `end_standing` reads it."""
    return f"job {id_}", fence & _BITS


def of_partition(hold: Hold) -> tuple[str, int]:
    """As `end_standing` reads it."""
    return f"partition {hold.group} {hold.partition.address} {hold.partition.index}", hold.epoch & _BITS
