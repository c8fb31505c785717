"""What every Ledger promises: run each of `PROMISES` with a world whose ledger has nothing in it."""

from __future__ import annotations

from tests.conformance import (
    ledger_claiming,
    ledger_desk,
    ledger_leasing,
    ledger_letters,
    ledger_outbox,
    ledger_parking,
    ledger_positions,
    ledger_recording,
    ledger_settling,
    ledger_states,
)
from tests.conformance.ledger_world import Promise

PROMISES: list[Promise] = [
    *ledger_recording.PROMISES,
    *ledger_claiming.PROMISES,
    *ledger_settling.PROMISES,
    *ledger_leasing.PROMISES,
    *ledger_desk.PROMISES,
    *ledger_positions.PROMISES,
    *ledger_states.PROMISES,
    *ledger_parking.PROMISES,
    *ledger_letters.PROMISES,
    *ledger_outbox.PROMISES,
]


def name_of(promise: Promise) -> str:
    return getattr(promise, "__name__", repr(promise))
