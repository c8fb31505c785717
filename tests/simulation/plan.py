"""What happens in one schedule, drawn from its seed: workers, messages, how their handlers behave, faults."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

Behaviour = Literal[
    "plain",
    "slow",
    "flaky",  # fails `times` times, then works
    "wrong",  # fails for good
    "hopeless",  # fails each time
    "starved",  # says `times` times that something is down
    "deadly",  # kills its process `times` times
    "poison",  # kills its process each time
    "garbled",  # can't be decoded
]
ENDS_IN_LETTERS = ("wrong", "hopeless", "poison", "garbled")

ORDERS, ROWS, PINGS, STEPS, ALONE = "orders.raw", "rows.raw", "pings.raw", "run.steps", "run.alone"
JOBS = (STEPS, ALONE)
TAKEN = "orders.taken"
"""What the handler of orders emits; nobody consumes it."""
TRANSACTIONAL = (ORDERS, ROWS)
CALM_AT_S = 6.0
"""From here on nothing fails any more, and everything has to come to its end."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """How the routes are declared: few enough that each is made only once."""

    in_lane_s: float
    dedupe_s: float
    lanes: int
    overrun: Literal["checkpoint", "requeue"]
    rows: int
    emits: bool
    """Whether the handler of orders does."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A message or a command. `repeats`: so often it is published once more, under the same id."""

    id: str
    address: str
    at_s: float
    key: str | None = None
    behaviour: Behaviour = "plain"
    times: int = 0
    pause_s: float = 0.0
    delay_s: float = 0.0
    repeats: int = 0
    steps: int = 0
    priority: int = 0
    cancelled_at_s: float | None = None
    """When someone asks for that, of a command."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A fault at an instant; `who` in [0, 1) picks the process."""

    at_s: float
    kind: Literal["crash", "stall", "cut off", "leave", "join", "outage", "outage of one"]
    who: float
    for_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is decided beforehand; the rest (delays, faults of calls, whose turn it is) is drawn as it goes."""

    seed: int
    fifo: bool
    workers: int
    partitions: int
    variant: Variant
    messages: tuple[Planned, ...]
    incidents: tuple[Incident, ...]
    fault_rate: float
    """Of calls to the ledger and the bus."""
    crashes: int
    """So many of those faults may be a crash."""
    dies_sending: bool
    """Whether one process dies when the bus has what it sent from the outbox, and the outbox does not know it yet."""
    repeat_rate: float
    """Of fetches of which a part comes twice."""
    delays: bool
    """Whether the bus itself keeps delayed messages."""
    session_s: float
    lease_s: float
    drain_timeout_s: float
    fetch_rows: int


def draw(seed: int) -> Plan:
    """The plan of a seed; the same one each time, whatever else was drawn."""
    of, more = random.Random(f"plan {seed}"), random.Random(f"more of plan {seed}")
    variant = Variant(
        in_lane_s=of.choice([0.1, 1.0, 60.0]),
        dedupe_s=of.choice([0.0, 3600.0]),
        lanes=of.choice([2, 8]),
        overrun=of.choice(["checkpoint", "requeue"]),
        rows=of.choice([2, 5]),
        emits=more.random() < 0.3,
    )
    addresses = of.sample([ORDERS, ORDERS, ROWS, PINGS], of.choice([1, 2, 3]))
    delays = of.random() < 0.5
    messages = _messages(of, addresses, dedupes=variant.dedupe_s > 0)
    jobs = _jobs(of) if of.random() < 0.5 else []
    jobs = [_perhaps_cancelled(more, job) for job in jobs or (_lonely(more) if more.random() < 0.3 else [])]
    return Plan(
        seed=seed,
        fifo=of.random() < 0.5,
        workers=of.choice([2, 2, 3]),
        partitions=2,
        variant=variant,
        messages=tuple(sorted((*messages, *jobs), key=lambda one: one.at_s)),
        incidents=(*_incidents(of), *_zombies(of, often=bool(jobs))),
        fault_rate=of.choice([0.0, 0.02, 0.05, 0.15]),
        crashes=of.choice([0, 1, 2]),
        dies_sending=variant.emits and more.random() < 0.5,
        repeat_rate=of.choice([0.0, 0.2]),
        delays=delays,
        session_s=of.uniform(0.5, 2.0),
        lease_s=of.choice([1.0, 1.0, 3.0]),
        drain_timeout_s=of.choice([1.0, 3.0]),
        fetch_rows=of.choice([1, 3, 100]),
    )


def _messages(of: random.Random, addresses: list[str], *, dedupes: bool) -> list[Planned]:
    strange = of.choice([0.0, 0.1, 0.3])
    made = []
    poison_left = 1
    for number in range(of.randint(8, 24)):
        address = of.choice(addresses)
        behaviour: Behaviour = "plain" if of.random() < 0.7 else "slow"
        if of.random() < strange:
            behaviour = of.choice(["flaky", "flaky", "flaky", "wrong", "hopeless", "starved", "deadly", "garbled"])
            if of.random() < 0.1:
                behaviour = "poison"
        if behaviour in ("poison", "deadly"):
            if not poison_left or address == ROWS:
                behaviour = "flaky"
            poison_left = 0
        made.append(
            Planned(
                id=f"m{number:02}",
                address=address,
                at_s=of.uniform(0.0, CALM_AT_S * 0.8),
                key=of.choice(["a", "b", "c", "d", None]),
                behaviour=behaviour,
                times=of.choice([1, 1, 2]),
                pause_s=of.uniform(0.05, 1.5) if behaviour == "slow" else of.choice([0.0, 0.0, 0.01, 0.05]),
                delay_s=of.uniform(0.1, 4.0) if of.random() < 0.05 else 0.0,
                repeats=1 if dedupes and address in TRANSACTIONAL and of.random() < 0.1 else 0,
            )
        )
    return made


def _jobs(of: random.Random) -> list[Planned]:
    return [
        Planned(
            id=f"j{number}",
            address=STEPS,
            at_s=of.uniform(0.0, CALM_AT_S * 0.8),
            behaviour=of.choice(["plain", "plain", "slow", "flaky", "deadly", "starved"]),
            times=1,
            pause_s=of.uniform(0.0, 1.0),
            delay_s=of.uniform(0.1, 3.0) if of.random() < 0.1 else 0.0,
            repeats=1 if of.random() < 0.2 else 0,
            steps=of.randint(1, 4),
            priority=of.choice([0, 0, 5]),
        )
        for number in range(of.randint(2, 4))
    ]


def _perhaps_cancelled(of: random.Random, job: Planned) -> Planned:
    at_s = of.uniform(0.5, CALM_AT_S * 1.2) if of.random() < 0.15 else None
    return msgspec.structs.replace(job, cancelled_at_s=at_s)


def _lonely(of: random.Random) -> list[Planned]:
    """Jobs of which one runs at a time, by their key."""
    return [
        Planned(
            id=f"j{number}",
            address=ALONE,
            at_s=of.uniform(0.0, CALM_AT_S * 0.8),
            key=of.choice(["a", "a", "b"]),
            behaviour=of.choice(["plain", "slow", "slow", "flaky", "deadly"]),
            times=1,
            pause_s=of.uniform(0.0, 1.0),
            priority=of.choice([0, 0, 5]),
        )
        for number in range(of.randint(3, 6))
    ]


def _zombies(of: random.Random, *, often: bool) -> list[Incident]:
    """Workers that stand still for longer than their leases and sessions, and then go on."""
    if of.random() >= (0.6 if often else 0.2):
        return []
    at_s, for_s = of.uniform(1.0, CALM_AT_S * 0.9), of.uniform(1.2, 4.0)
    return [Incident(at_s=at_s, kind="stall", who=of.random(), for_s=for_s)]


def _incidents(of: random.Random) -> list[Incident]:
    kinds = ["crash", "stall", "stall", "cut off", "leave", "join", "outage", "outage of one"]
    return [
        Incident(
            at_s=of.uniform(0.0, CALM_AT_S * 0.9),
            kind=of.choice(kinds),  # type: ignore[arg-type]
            who=of.random(),
            for_s=of.choice([of.uniform(0.01, 0.5), of.uniform(0.5, 4.0)]),
        )
        for _ in range(of.choice([0, 1, 2, 3, 4]))
    ]
