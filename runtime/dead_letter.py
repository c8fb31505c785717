"""A dead letter out of a delivery and the reason why it could not be handled."""

from __future__ import annotations

from contracts.message import Delivery
from contracts.outcome import Dead
from contracts.ports.ledger import DeadLetter

REPLAYS = "millrace-replays"
"""The header that counts how often a dead letter was sent on its way again."""


def dead_letter(delivery: Delivery, dead: Dead, *, group: str = "", attempts: int = 0) -> DeadLetter:
    """Whole: the raw bytes, the headers and the place that it came from."""
    envelope, partition = delivery.envelope, delivery.partition
    replays = envelope.headers.get(REPLAYS, "")
    return DeadLetter(
        id=envelope.id,
        address=envelope.address,
        group=group,
        reason=dead.reason,
        body=envelope.body,
        error=dead.error,
        traceback=dead.traceback,
        key=envelope.key,
        headers=envelope.headers,
        origin=f"{partition.address}/{partition.index}@{delivery.position}",
        partition=partition.index if group else None,
        position=delivery.position if group else None,
        attempts=attempts,
        replays=int(replays) if replays.isascii() and replays.isdigit() else 0,
        correlation_id=envelope.correlation_id,
    )
