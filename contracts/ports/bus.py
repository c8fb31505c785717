"""The bus: partitions that are assigned, fetched from, committed and revoked.

The adapter fetches and owns the network; the runtime owns lanes, retries and what is finished. They meet in
`Consumer` (what the runtime is to the adapter) and `Assignment` (one partition, while it is ours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from contracts.message import Delivery, Envelope, Partition
from contracts.module import Route
from contracts.ports.database import Tx
from contracts.ports.health import Checked
from contracts.ports.history import History


class BusCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation can do; the conformance suite and the start-up summary read it."""

    durable: bool
    """Messages survive the death of every process."""
    delay: bool
    """`not_before` is honoured by the bus itself, on stream routes; a job's command always comes at once, since the
    ledger, which outlives the bus, keeps it until it is due."""
    counts_deliveries: bool = False
    """`Delivery.deliveries` is counted up by the bus, across owners; else it is always 1."""
    broker_name: str


class Assignment(Protocol):
    """One partition that this process owns, from `assigned` to `revoked`. Its methods never wait for handlers."""

    @property
    def partition(self) -> Partition: ...

    @property
    def epoch(self) -> int:
        """Goes up with each assignment of the partition; what an older one commits is refused."""
        ...

    @property
    def incarnation(self) -> str:
        """Which making of the address this is (a topic's id): another one after it was deleted and made anew."""
        ...

    @property
    def lag(self) -> int:
        """How many messages of the partition are not committed, as the bus last said."""
        ...

    def pause(self, reason: str) -> None:
        """Stop fetching for `reason` (a set: it ends when every reason was resumed). Idempotent."""
        ...

    def resume(self, reason: str) -> None: ...

    async def commit(self, position: int) -> None:
        """Every position below `position` is finished, durably. Raises `LeaseLost` when the assignment is over, so
        committing the same again asks the bus whether the partition is still ours; `Unavailable` when it can't say."""
        ...

    async def release(self, positions: Sequence[int]) -> None:
        """Hand these back unfinished: they are delivered again, at once, to whoever owns the partition."""
        ...


class Consumer(Protocol):
    """One route, as the bus adapter sees it."""

    @property
    def route(self) -> Route: ...

    async def assigned(self, assignment: Assignment) -> int | None:
        """Before the first fetch; it is called again, after a pause, until it does not raise. Returns the position to
        fetch from, or None for the bus's own committed one (the beginning, where there is none)."""
        ...

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        """A fetch, in order of position. Returns at once: to slow the bus down the consumer pauses the assignment.

        What was released comes again under its old position, so a later fetch can begin below an earlier one.
        """
        ...

    async def revoked(self, assignment: Assignment) -> None:
        """The partition goes away when this returns; nothing of it may be committed afterwards."""
        ...


class Bus(Checked, Protocol):
    """A native FastStream broker with our consume loop. `open` connects; consumers are fetched for after `start`."""

    @property
    def capabilities(self) -> BusCapabilities: ...

    @property
    def broker(self) -> Any:
        """The native FastStream broker, for the application, AsyncAPI and FastStream middlewares."""
        ...

    @property
    def history(self) -> History:
        """What lies on it, to be read by time: an adapter of its own, with connections of its own."""
        ...

    def mount(self, consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        """Make the route a native subscriber; `schema` is its payload's JSON Schema. Before `start` only."""
        ...

    async def start(self) -> None:
        """Begin to fetch for all that is mounted."""
        ...

    async def publish(self, *envelopes: Envelope) -> None:
        """Returns once the bus has confirmed all of them; those of one key keep their order. Raises `Unavailable`, or
        `Transient` when a bound is reached: then some of them may have been published."""
        ...

    async def stop_intake(self) -> None:
        """No more `fetched`, on any route; assignments, heartbeats and commits go on. Idempotent."""
        ...


class Emit(Protocol):
    """Send messages from a handler, through the outbox: they are kept together with the handler's effects, and leave
    soon after that, those of one key in their order. Their ids derive from the source (a message, or a job), so a
    repeat is recognised; the header `source-id` names it, and its correlation id goes on.
    """

    async def __call__(
        self,
        address: str,
        message: msgspec.Struct,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        after_s: float = 0.0,
        tx: Tx | None = None,
        of: int | None = None,
    ) -> str:
        """Returns the id of the message, which is not to be handled before `after_s` have passed.

        In a batch, `of` is the place of the message that it comes of: its id then derives from that one alone, and is
        the same whatever else was in the batch.

        On a stream it is sent if the attempt succeeds, and only then: it is part of the one transaction of its message,
        which `tx` is too. In a job it is kept for good when this returns, whatever becomes of the run, unless another
        worker owns the job now (`LeaseLost`); with `tx`, a transaction of the job's `Db`, it is sent if that commits,
        and costs no commit of its own.
        """
        ...
