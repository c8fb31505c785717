"""A dead letter out of a delivery and the reason why it could not be handled."""

from __future__ import annotations

from contracts.message import Delivery
from contracts.outcome import Dead
from contracts.ports.ledger import DeadLetter


def dead_letter(delivery: Delivery, dead: Dead) -> DeadLetter:
    """Whole: the raw bytes, the headers and the place that it came from."""
    envelope, partition = delivery.envelope, delivery.partition
    return DeadLetter(
        id=envelope.id,
        address=envelope.address,
        reason=dead.reason,
        body=envelope.body,
        error=dead.error,
        traceback=dead.traceback,
        key=envelope.key,
        headers=envelope.headers,
        origin=f"{partition.address}/{partition.index}@{delivery.position}",
        correlation_id=envelope.correlation_id,
    )
