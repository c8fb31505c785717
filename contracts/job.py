"""Jobs: the row that the ledger keeps, the claim that a worker holds, and what a handler sees of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from contracts.ports.database import Tx

T = TypeVar("T")


class JobState(enum.StrEnum):
    """`queued` and `running` are active; the others are final (`failed` and `cancelled` can be retried by hand)."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Not run: its unique key was active, and its route says `unique="skip"`; `error` names the active job."""

    @property
    def final(self) -> bool:
        """It has ended."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a job is; totals are 0 while unknown. `message` is one line for people."""

    rows: int = 0
    bytes: int = 0
    total_rows: int = 0
    total_bytes: int = 0
    message: str = ""


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A command to be recorded. `id` is the message's id, so recording it twice is a no-op.

    `timeout_s` bounds each run. `unique_key`: of the jobs with one key at most one runs at a time; with
    `unique_skip`, one that arrives while another is active is recorded as skipped.
    """

    id: str
    address: str
    body: bytes
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    correlation_id: str = ""
    priority: int = 0
    not_before: datetime | None = None
    unique_key: str | None = None
    unique_skip: bool = False


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the ledger has it, for people and the API. `result`, `progress` and `checkpoint` are JSON values."""

    id: str
    address: str
    state: JobState
    priority: int
    attempt: int
    claims: int
    recorded_at: datetime
    not_before: datetime
    correlation_id: str = ""
    unique_key: str | None = None
    worker_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    progress: Progress | None = None
    checkpoint: Any = None
    result: Any = None
    error: str | None = None
    traceback: str | None = None
    command: Any = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The right to run a job until another claim raises its fence. `attempt` counts from 1."""

    id: str
    address: str
    body: bytes
    fence: int
    attempt: int
    claims: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    correlation_id: str = ""
    checkpoint: bytes | None = None
    recorded_at: datetime


class Job(Protocol):
    """The running job as its handler sees it: inject it by annotating a parameter with `Job`."""

    @property
    def id(self) -> str: ...

    @property
    def attempt(self) -> int:
        """Counts from 1; a resumed run after a crash or a drain keeps its number."""
        ...

    @property
    def correlation_id(self) -> str: ...

    @property
    def stopping(self) -> bool:
        """True once the process drains or the job's cancellation was asked for: save a checkpoint and return soon."""
        ...

    def saved(self, type_: type[T]) -> T | None:
        """The last checkpoint, or None on the first run; raises `Undecodable` when it does not fit `type_`: the job
        fails, unless a living worker of another version may be able to read it."""
        ...

    async def checkpoint(self, state: Any, *, tx: Tx | None = None) -> None:
        """Keep `state` (anything that msgspec encodes) for the next run; with `tx`, in that transaction, which is
        undone when nothing is asked of it for five minutes after that.

        Raises `LeaseLost` when another worker owns the job now. Also the point at which a cancelled or draining
        job ends: it raises `asyncio.CancelledError` after the state was saved, unless `tx` is given.
        """
        ...

    def progress(self, progress: Progress) -> None:
        """Say how far the job is; never blocks, the last one of each half second reaches the ledger."""
        ...
