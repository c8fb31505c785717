"""What a storm is to be, and what came of it."""

from __future__ import annotations

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much, how hard, and by which seed. The seed decides who is hit, by what and when; how the processes run
    against each other it does not."""

    mq: str
    messages: int
    jobs: int
    workers: int = 3
    blows: int
    """That fall on workers."""
    broker_restarts: int
    database_restarts: int
    cuts: int
    """Of the network between workers and services."""
    takes_s: float = 0.002
    """What a handler waits for."""
    settle_s: float = 90.0
    """How long nothing may come to pass, when all is up, before the rest is given up."""
    seed: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what was found. `faults` is empty when every promise was kept."""

    mq: str
    seed: int
    seconds: float
    blows: dict[str, int]
    effects: dict[str, int]
    faults: list[str]
