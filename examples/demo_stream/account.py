"""The sums that must hold at the end: each ride that was made up is accounted for, twice over."""

from __future__ import annotations

import msgspec

from examples.demo_stream.watching import Seen


class Sending(msgspec.Struct):
    """What was sent: each ride was `accepted`, or `refused` at the door; `again` counts those that were sent twice."""

    accepted: int = 0
    refused: int = 0
    again: int = 0


def accounted(sending: Sending, seen: Seen) -> bool:
    """Whether both modules know what became of every ride that was accepted."""
    return sending.accepted == seen.landed + seen.quarantined == seen.in_windows + seen.aside + seen.unusable


def summary(sending: Sending, seen: Seen) -> str:
    """The account, in words."""
    total = sending.accepted + sending.refused
    return "\n".join(
        (
            f"{total} rides = {sending.accepted} accepted + {sending.refused} refused by the worker's HTTP (422)",
            f"{sending.accepted} accepted = {seen.landed} landed in demo.rides + {seen.quarantined} quarantined",
            f"{sending.accepted} accepted = {seen.in_windows} in windows ({seen.late} of them late)"
            f" + {seen.aside} too late + {seen.unusable} too far in the future",
            f"{len(seen.windows)} windows: {seen.open_windows} still open, {seen.closed} closed,"
            f" {seen.corrected} corrections",
            f"{sending.again} rides were sent twice, and counted once",
            "Every ride is accounted for." if accounted(sending, seen) else "THE SUMS DO NOT HOLD.",
        )
    )
