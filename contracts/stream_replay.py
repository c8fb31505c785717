"""The messages of `stream_replay`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.event import TOPIC
from contracts.message import Contract

Instant = Annotated[datetime, Meta(tz=True)]


class RunStreamReplay(Contract, frozen=True, kw_only=True):
    """Publish again, into another topic, what lies on a topic between two instants."""

    topic: Annotated[
        str, Meta(pattern=r"^\S{1,249}$", description="The topic that is read; nobody there is disturbed.")
    ]
    into: Annotated[str, Meta(pattern=TOPIC, description="The topic that it is published into: another one.")]
    from_at: Annotated[
        Instant | None,
        Meta(description="What came at this instant or later; without it, from the oldest that is left."),
    ] = msgspec.field(name="from", default=None)
    to_at: Annotated[
        Instant | None,
        Meta(description="What came before this instant; without it, up to the newest when the replay begins."),
    ] = msgspec.field(name="to", default=None)
    partition: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...], Meta(description="Only what lies in this partition of the topic.")
    ] = ()
    rate: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="At most so many messages a second.")] = None
    expired: Annotated[
        Literal["fail", "earliest"],
        Meta(description="Where messages of that time may be deleted already: fail, or begin with what is left."),
    ] = "fail"
    dry_run: Annotated[bool, Meta(description="Read and count, and publish nothing.")] = False


class StreamReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was published into the topic: everything that was read. `first_at` and `last_at` are the earliest and the
    latest instant at which one of the messages came; `by_partition` counts those of each partition that was read."""

    topic: str
    into: str
    messages: int = 0
    bytes: int = 0
    first_at: Instant | None = None
    last_at: Instant | None = None
    by_partition: dict[str, int] = msgspec.field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
