"""The phases of a process, and how its one deadline is shared out."""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """Only ever goes up. The numbers are what the `platform_drain_phase` metric shows."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    CLOSING = 3
    CLOSED = 4


class PhaseMachine:
    """Holds the phase; a step back is refused."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def enter(self, phase: Phase) -> bool:
        """True when this call made the change, False when the process is there already; raises on a step back."""
        if phase == self.phase:
            return False
        if phase < self.phase:
            raise ValueError(f"a process that is {self.phase.name} can't become {phase.name}")
        self.phase = phase
        return True


def asking_s(timeout_s: float) -> float:
    """Seconds into the drain at which what still runs is asked to save a checkpoint and stop: it has the rest of
    the deadline (a fifth, at most 5 s) to do so before it is cut."""
    return timeout_s - min(5.0, timeout_s / 5)
