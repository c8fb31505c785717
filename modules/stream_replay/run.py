"""One run of one replay: what was read is emitted, and how far it is is saved, in one transaction of the job."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contracts.job import Job, Progress
from contracts.message import Delivery
from contracts.ports import Clock, Db, Feed, History, Log, Outgoing
from contracts.ports.history import Stretch
from contracts.stream_replay import RunStreamReplay, StreamReplayReport
from modules.stream_replay.merge import Merged
from modules.stream_replay.plan import plan

ROWS = 2_000
"""Of one transaction."""
BYTES = 4 << 20
HELD_BYTES = 32 << 20
"""Of all partitions together, as they are read."""
LEAST_BYTES = 64 << 10
"""Of one of them."""
AHEAD = 20_000
"""So many messages may wait for the bus; then nothing is read until some have left."""
LOOK_EVERY_S = 0.05
LONGEST_NAP_S = 0.5
"""How long it takes at most to hear that the job is to stop."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to read, and the report of what was emitted."""

    stretches: tuple[Stretch, ...]
    report: StreamReplayReport


class Replay:
    """`run` is the main path."""

    def __init__(
        self, cmd: RunStreamReplay, *, job: Job, db: Db, history: History, feed: Feed, clock: Clock, log: Log
    ) -> None:
        self.cmd = cmd
        self.job = job
        self.db = db
        self.history = history
        self.feed = feed
        self.clock = clock
        self.log = log.bind(topic=cmd.topic, into=cmd.into)
        self.rows = ROWS if cmd.rate is None else max(1, min(ROWS, int(cmd.rate * LONGEST_NAP_S)))
        self.total = 0

    async def run(self) -> StreamReplayReport:
        began_s = self.clock.monotonic()
        saved = self.job.saved(Checkpoint) or await self._planned()
        seconds_before, emitted_before = saved.report.seconds, saved.report.messages
        self.total = _total(saved)
        held_bytes = max(LEAST_BYTES, HELD_BYTES // max(1, len(saved.stretches)))
        async with self.history.reader(saved.stretches, rows=ROWS, size_bytes=held_bytes) as reader:
            merged = Merged(reader, saved.stretches)
            while batch := await merged.take(self.rows, BYTES):
                if self.job.stopping:
                    await self.job.checkpoint(saved)
                spent_s = self.clock.monotonic() - began_s
                after = _after(saved, batch, seconds=seconds_before + spent_s)
                await self._keep(batch, after)
                saved = after
                self._tell(saved, "")
                await self._pace(saved, began_s, saved.report.messages - emitted_before)
        await self._until_waiting(0, saved)
        self.log.info("replayed", messages=saved.report.messages, dry_run=self.cmd.dry_run)
        return msgspec.structs.replace(saved.report, seconds=seconds_before + self.clock.monotonic() - began_s)

    async def _planned(self) -> Checkpoint:
        report = StreamReplayReport(topic=self.cmd.topic, into=self.cmd.into, dry_run=self.cmd.dry_run)
        return Checkpoint(stretches=tuple(await plan(self.cmd, self.history)), report=report)

    async def _keep(self, batch: Sequence[Delivery], after: Checkpoint) -> None:
        if self.cmd.dry_run:
            return
        await self._until_waiting(AHEAD, after)
        messages = [_again(delivery) for delivery in batch]
        async with self.db.transaction() as tx:
            await self.feed.add(self.cmd.into, messages, tx=tx)
            await self.job.checkpoint(after, tx=tx)

    async def _until_waiting(self, most: int, saved: Checkpoint) -> None:
        """Returns once no more than so many of the messages wait for the bus. How long that takes is bounded by the
        job's own time."""
        while (waiting := await self.feed.waiting()) > most and not self.job.stopping:
            self._tell(saved, f"{waiting:,} messages wait for the bus")
            await self.clock.sleep(LOOK_EVERY_S)

    async def _pace(self, saved: Checkpoint, began_s: float, emitted: int) -> None:
        """Waits until so many may have been emitted."""
        if self.cmd.rate is None:
            return
        due_s = began_s + emitted / self.cmd.rate
        while (left_s := due_s - self.clock.monotonic()) > 0 and not self.job.stopping:
            self._tell(saved, f"at most {self.cmd.rate:g} a second")
            await self.clock.sleep(min(left_s, LONGEST_NAP_S))

    def _tell(self, saved: Checkpoint, message: str) -> None:
        report = saved.report
        self.job.progress(Progress(rows=report.messages, bytes=report.bytes, total_rows=self.total, message=message))


def _again(delivery: Delivery) -> Outgoing:
    """The message as it was. Its id goes by that of the source, so who takes a repeat there for one does so here; two
    that have one id there are two here."""
    source = delivery.envelope
    return Outgoing(
        source_id=source.id,
        place=f"{delivery.partition.index}:{delivery.position}",
        body=source.body,
        key=source.key,
        headers=source.headers,
        correlation_id=source.correlation_id,
        not_before=source.not_before,
        priority=source.priority,
    )


def _after(saved: Checkpoint, batch: Sequence[Delivery], *, seconds: float) -> Checkpoint:
    """What is saved with the batch."""
    behind = {delivery.partition: delivery.position + 1 for delivery in batch}
    report, counts = saved.report, dict(saved.report.by_partition)
    for delivery in batch:
        partition = str(delivery.partition.index)
        counts[partition] = counts.get(partition, 0) + 1
    times = [at for at in (report.first_at, report.last_at) if at is not None]
    times += [at for delivery in batch if (at := delivery.envelope.published_at) is not None]
    return Checkpoint(
        stretches=tuple(
            msgspec.structs.replace(one, first=behind.get(one.partition, one.first)) for one in saved.stretches
        ),
        report=msgspec.structs.replace(
            report,
            messages=report.messages + len(batch),
            bytes=report.bytes + sum(delivery.size_bytes for delivery in batch),
            first_at=min(times, default=None),
            last_at=max(times, default=None),
            by_partition=counts,
            seconds=seconds,
        ),
    )


def _total(saved: Checkpoint) -> int:
    """How many there are in all; 0: nobody can say."""
    left = [0 if stretch.is_empty else stretch.messages for stretch in saved.stretches]
    return 0 if None in left else saved.report.messages + sum(count or 0 for count in left)
