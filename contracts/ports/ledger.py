"""The ledger: workers and their leases, jobs, positions, parked messages, the outbox, and dead letters. One level above
SQL.

Every instant is of the ledger's own clock (the database's), so workers' clocks don't matter. Every method is one
round trip where the store allows it; all raise `Unavailable` when the store does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from contracts.job import Claim, JobRow, JobState, NewJob, Progress
from contracts.outcome import Outcome
from contracts.ports.database import Guard, Tx
from contracts.ports.health import Checked
from contracts.ports.outbox import Outbox
from contracts.ports.parking import Parking
from contracts.ports.partitions import Partitions
from contracts.ports.states import States

AGEING_S = 60.0
"""One point of priority is worth this much waiting: jobs are claimed in order of
`greatest(recorded_at, not_before) - priority * AGEING_S`, which does not change while they wait."""

CRASH_CAP = 3
"""A job whose worker died this often while running it is failed as poison."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that claims; `id` is fresh at each start and after each lost lease."""

    id: str
    host: str
    pid: int
    modules: tuple[str, ...] = ()
    http: str = ""
    """Where its HTTP answers, for the command line; empty when it has none."""
    version: str = ""
    """Of Millrace; empty: it is of a version that did not say so yet."""
    schema: int = 0
    """The newest migration that it knows."""
    contracts: Mapping[str, str] = msgspec.field(default_factory=dict)
    """How it reads the messages of its routes: a fingerprint by address, the same for contracts that take the same."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What recording made of a command: `known`, this id was there before, and nothing was changed; `skipped`, its
    unique key is active, by job `active_id`, and it was put down as such; `claim` is there when it was claimed in the
    same step."""

    id: str
    became: Literal["recorded", "known", "skipped"]
    claim: Claim | None = None
    active_id: str | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one run. `result` is JSON, kept when the run is done, or dead with one; one that is too large or can't
    be kept fails its job, and says so."""

    claim: Claim
    outcome: Outcome
    result: bytes | None = None
    progress: Progress | None = None


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first, at most `limit`; `before` is the `recorded_at` and id of the last one seen (keyset paging)."""

    states: tuple[JobState, ...] = ()
    address: str | None = None
    correlation_id: str | None = None
    before: tuple[datetime, str] | None = None
    limit: int = 50


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be handled, whole: its raw bytes, why, and where it came from."""

    id: str
    address: str
    reason: str
    body: bytes
    group: str = ""
    """Whose route it was; several groups can read one address."""
    error: str = ""
    traceback: str = ""
    key: str | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    origin: str = ""
    """Bus, partition and position, as text."""
    partition: int | None = None
    position: int | None = None
    attempts: int = 0
    replays: int = 0
    """How often it was sent on its way again."""
    correlation_id: str = ""
    buried_at: datetime | None = None


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters, newest first. What is left out does not narrow; `headers` must all be there, equal."""

    ids: tuple[str, ...] = ()
    address: str | None = None
    group: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    before: tuple[datetime, str] | None = None
    """`buried_at` and id of the last one seen (keyset paging)."""
    limit: int = 50


Replayed = Literal["parked", "gone", "too often"]
"""What became of a dead letter that was to be sent again: it waits for its route now; it is not there any more; or it
came back as often as is allowed."""


class Leases(Protocol):
    """One row a worker, renewed by one statement on a connection of its own."""

    async def join(self, worker: Worker, *, lease_s: float) -> None: ...

    async def renew(self, worker_id: str, *, lease_s: float) -> bool:
        """False: the lease had run out and was taken; everything it claimed belongs to others now."""
        ...

    async def leave(self, worker_id: str) -> None:
        """A clean end; idempotent. Jobs that it still holds are put back without a charge."""
        ...

    async def reap(self) -> list[str]:
        """Put back the running jobs of workers whose lease ran out, each charged with a crash (at `CRASH_CAP` it
        fails as poison; one whose cancellation was asked for is cancelled). Returns the ids of the jobs. Safe when
        several workers do it at once. Ends also what those who have lost their work began in the database and left
        standing: its locks would hold up who has the work now."""
        ...

    async def workers(self) -> list[Mapping[str, Any]]:
        """The living: id, host, pid, modules, http, version, schema, contracts, started_at, lease_until, running (how
        many jobs)."""
        ...


class Queue(Protocol):
    """Jobs on their way."""

    async def record(
        self,
        jobs: Sequence[NewJob],
        *,
        worker_id: str | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> list[Recorded]:
        """Durable and atomic for the whole sequence, in order; idempotent by id (also within the sequence).

        With `worker_id` and `slots` (free runs by address), jobs that could start at once are claimed in the same
        round trip, unless something eligible waits ahead for that address (fairness) or they have a unique key.
        Those that are left queued wake other workers.
        """
        ...

    async def claim(self, worker_id: str, slots: Mapping[str, int], *, only: Sequence[str] = ()) -> list[Claim]:
        """At most `slots[address]` eligible jobs of each address, best first (see `AGEING_S`). `only` limits it to
        these ids. Of one unique key at most one runs. Raises each job's fence, and `attempt` is the run's number.
        Nothing is returned for a worker that has no living lease."""
        ...

    async def strays(self, worker_id: str, known: Sequence[Claim]) -> list[Claim]:
        """What this worker runs by the ledger, beside the `known`. Changes nothing. Where no claim of this worker's is
        under way, these run nowhere: the answer to theirs was lost. Who asks puts them back (`Release`), by their
        fence, so that it harms nothing if that comes late."""
        ...

    async def acquit(self, claims: Sequence[Claim]) -> None:
        """The jobs of these claims were taken away as those of a dead worker, who lives: they killed nobody, so each is
        charged with one death less. A job that has ended, failed for that included, stays as it is."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End runs, each by itself; False where the claim's fence is not the job's any more (nothing was changed
        there). Telling the same final end again is True and no change: the first answer may have been lost.

        Done → done with its result, its checkpoint dropped. Retry → queued again at now + after_s, the attempt used
        up if it counts. Dead → failed; with its result, where it has one, and then without its checkpoint. Cancelled →
        cancelled. Release → queued again, no attempt used up, after after_s, or in its old place when that is 0. A job
        whose cancellation was asked for is cancelled instead of being queued again.
        """
        ...

    async def note(self, notes: Sequence[tuple[Claim, Progress | None]]) -> list[str]:
        """Save progress (None: nothing new, only ask); returns the ids of those among the claims whose cancellation
        was asked for, or whose fence is lost."""
        ...

    async def checkpoint(self, claim: Claim, state: bytes, *, tx: Tx | None = None) -> None:
        """Keep `state` (JSON) on the job; within `tx` when given. Raises `LeaseLost`."""
        ...

    def guard(self, claim: Claim) -> Guard | None:
        """The fence as a statement for this ledger's database; None where jobs aren't in that database."""
        ...

    def wakeups(self) -> AsyncIterator[None]:
        """One item whenever something may have become claimable or a cancellation was asked for; several wakes
        may fold into one. The first comes as soon as it listens. Ends when the ledger closes. Survives a lost
        connection (an item follows each repair)."""
        ...

    async def next_due_s(self, addresses: Sequence[str]) -> float | None:
        """Seconds until the earliest queued job of these becomes eligible (0 or less: now); None: there is none."""
        ...


class Desk(Protocol):
    """Jobs for people and the API."""

    async def get(self, job_id: str) -> JobRow | None: ...

    async def list(self, wanted: JobFilter) -> list[JobRow]: ...

    async def counts(self) -> Mapping[tuple[str, JobState], int]:
        """By address and state."""
        ...

    async def cancel(self, job_id: str) -> JobState:
        """A queued job is cancelled at once, a running one is asked to stop (the answer is `running`). Idempotent
        for a cancelled one; raises `NotFound`, or `Conflict` when it has ended otherwise."""
        ...

    async def retry(self, job_id: str) -> None:
        """Queue a failed or cancelled job again from its checkpoint, with attempts anew and without a result. Raises
        `NotFound`, `Conflict`."""
        ...

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int:
        """Delete ended jobs older than `keep`, at most `batch` at a call; returns how many."""
        ...


class DeadLetters(Protocol):
    """What could not be handled, until someone looks or its retention ends."""

    async def bury(self, letters: Sequence[DeadLetter], *, tx: Tx | None = None) -> None:
        """Durable; idempotent by group, address and id: one that comes back is there as it came last. Within `tx`, when
        given: that of the end of its message, so that nobody buries what is another's."""
        ...

    async def replay(self, letters: Sequence[DeadLetter], *, most: int) -> list[Replayed]:
        """Park each for the group and partition that it came from, due now, and forget the letter, in one transaction.
        Its header `millrace-replays` counts up; one that was replayed `most` times stays."""
        ...

    async def list(self, wanted: LetterFilter) -> list[DeadLetter]: ...

    async def edit(self, letter: DeadLetter) -> None:
        """Keep another body, key or headers, so that they can be replayed. Raises `NotFound`."""
        ...

    async def drop(self, letters: Sequence[DeadLetter]) -> int:
        """Forget them; returns how many were there."""
        ...

    async def prune(self, *, keep: timedelta, batch: int = 1000) -> int: ...


class Ledger(Checked, Protocol):
    """The parts of one store."""

    @property
    def leases(self) -> Leases: ...

    @property
    def queue(self) -> Queue: ...

    @property
    def desk(self) -> Desk: ...

    @property
    def partitions(self) -> Partitions: ...

    @property
    def states(self) -> States: ...

    @property
    def parking(self) -> Parking: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def dead_letters(self) -> DeadLetters: ...

    async def identity(self) -> str:
        """A fixed id of this ledger, made once."""
        ...
