"""A dead letter that is sent on its way again: what it becomes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from contracts.job import NewJob
from contracts.message import Envelope
from contracts.ports.ledger import DeadLetter
from contracts.ports.parking import ToPark

REPLAYS = "millrace-replays"
"""The header that counts how often a message came back from the dead letters."""


def to_park(letter: DeadLetter) -> ToPark:
    """For the partition that it came from: due now, behind what waits under its key."""
    return ToPark(
        envelope=Envelope(
            id=letter.id,
            address=letter.address,
            body=letter.body,
            key=letter.key,
            headers=_counted(letter),
            correlation_id=letter.correlation_id,
        ),
        position=letter.position or 0,
        lane=letter.key,
    )


def to_record(letter: DeadLetter) -> NewJob:
    """For the queue: a command that never became a job has no partition to go back to."""
    return NewJob(
        id=letter.id,
        address=letter.address,
        body=letter.body,
        headers=_counted(letter),
        correlation_id=letter.correlation_id,
    )


def name_of(letter: DeadLetter) -> tuple[str, str, str]:
    """Address, group and id, which tell it from all others."""
    return letter.address, letter.group, letter.id


def in_order(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """As they came once, so that those of one key keep their order."""
    return sorted(letters, key=lambda one: (one.address, one.group, one.partition or 0, one.position or 0, one.id))


def with_content_of(kept: DeadLetter, edited: DeadLetter) -> DeadLetter:
    """The letter that is kept, with what may be edited."""
    return msgspec.structs.replace(kept, body=edited.body, key=edited.key, headers=edited.headers)


def _counted(letter: DeadLetter) -> dict[str, str]:
    return {**letter.headers, REPLAYS: str(letter.replays + 1)}
