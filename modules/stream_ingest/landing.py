"""The path of a batch: take → lake → table → shelf → announce, all of it in the one transaction of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from anyio import to_thread

from contracts.event import Event, Land
from contracts.ports import Clock, Db, Emit, Files, Metrics, State
from contracts.stream_ingest import BATCH_LANDED, BatchLanded
from modules.stream_ingest import shelf
from modules.stream_ingest.buffer import Buffer
from modules.stream_ingest.intake import Intake, Taken
from modules.stream_ingest.lake import LakeFiles
from modules.stream_ingest.measures import EVENTS, LAKE_BYTES, LAKE_FILES, LAND_LATENCY
from modules.stream_ingest.table import Rows, Target

IN_THREAD = 20_000
"""A batch with more messages than this is taken in a thread: it would stop everything else for too long."""
FORGET_EVERY = timedelta(hours=1)


class Landing:
    """Of one event, for all partitions that this process has of it."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.land_as = event.land or Land()
        self._intake = Intake(event)
        target = Target.of(event)
        self._table = Rows(target) if target else None
        self._lake = LakeFiles(self._intake, self.land_as.lake) if self.land_as.lake else None
        self._shelf = shelf.Shelf(event)
        self._forgot_at: datetime | None = None

    async def land(
        self, batch: Sequence[bytes], state: State, db: Db, emit: Emit, files: Files, clock: Clock, metrics: Metrics
    ) -> None:
        """A batch of one partition; or an empty one now and then, so that nothing waits for its file for ever."""
        now = clock.now()
        taken = await self._take(batch, now)
        # Files first: while they are written the transaction, which the database begins with, is not open yet.
        await self._into_lake(taken, state, db, emit, files, now, metrics)
        if taken.rows and self._table is not None:
            await self._table.put(db, taken.rows)
            await self._announce_rows(taken, state, emit)
        if taken.refused:
            assert state.positions is not None
            places = each_position(state.positions, len(batch))
            await self._shelf.keep(db, taken.refused, state.partition, places, now)
        await self._forget(db, now)
        self._count(taken, now, metrics)

    async def _take(self, batch: Sequence[bytes], now: datetime) -> Taken:
        if len(batch) > IN_THREAD:
            return await to_thread.run_sync(self._intake.take, batch, now)
        return self._intake.take(batch, now)

    async def _into_lake(
        self, taken: Taken, state: State, db: Db, emit: Emit, files: Files, now: datetime, metrics: Metrics
    ) -> None:
        if self._lake is None:
            return
        buffer = await state.restored(Buffer.of)
        added: list[str] = []
        if taken.rows:
            assert state.positions is not None
            added = buffer.add(taken.raws, state.positions, came_at=now, refused=len(taken.refused))
        if not buffer.due(self._lake.declared, now):
            for name in added:
                state.save(name, buffer.encoded(name))
            return
        positions, refused = buffer.positions, buffer.refused
        written, again = await self._lake.write(db, files, buffer.raws, state.partition, positions)
        for name in buffer.clear():
            state.save(name, None)
        if again.refused:
            nowhere = [positions[0]] * (max(one.at for one in again.refused) + 1)
            await self._shelf.keep(db, again.refused, state.partition, nowhere, now)
        metrics.add(LAKE_FILES, len(written), event=self.event.name)
        metrics.add(LAKE_BYTES, sum(one.bytes for one in written), event=self.event.name)
        if written and self.land_as.announce != "nothing":
            await self._announce(
                emit,
                state,
                positions,
                rows=len(again.rows),
                quarantined=refused + len(again.refused),
                files=tuple(one.path for one in written),
            )

    async def _announce_rows(self, taken: Taken, state: State, emit: Emit) -> None:
        if self.land_as.announce == "batches":
            assert state.positions is not None
            positions = (state.positions[0], state.positions[-1])
            await self._announce(
                emit,
                state,
                positions,
                rows=len(taken.rows),
                quarantined=len(taken.refused),
                table=self.land_as.table,
            )

    async def _announce(
        self,
        emit: Emit,
        state: State,
        positions: tuple[int, int],
        *,
        rows: int,
        quarantined: int,
        table: str | None = None,
        files: tuple[str, ...] = (),
    ) -> None:
        landed = BatchLanded(
            event=self.event.name,
            topic=state.partition.address,
            partition=state.partition.index,
            first_position=positions[0],
            last_position=positions[1],
            rows=rows,
            quarantined=quarantined,
            table=table,
            files=files,
        )
        await emit(BATCH_LANDED, landed, key=self.event.name)

    async def _forget(self, db: Db, now: datetime) -> None:
        """A service runs for months: what it refused goes when its time is over, also while it runs."""
        if self._forgot_at is None:
            self._forgot_at = now
        elif now - self._forgot_at >= FORGET_EVERY and await shelf.forget(db) < shelf.FORGOTTEN_AT_ONCE:
            self._forgot_at = now  # else there are more: some go with each batch

    def _count(self, taken: Taken, now: datetime, metrics: Metrics) -> None:
        counts = {"landed": len(taken.rows), "quarantined": len(taken.refused), "dropped": taken.dropped}
        for outcome, count in counts.items():
            if count:
                metrics.add(EVENTS, count, event=self.event.name, outcome=outcome)
        if taken.rows and self._intake.time_of is not None:
            newest = max(map(self._intake.time_of, taken.rows))
            metrics.observe(LAND_LATENCY, max(0.0, (now - newest).total_seconds()), event=self.event.name)


def each_position(positions: range, messages: int) -> Sequence[int]:
    """Of each message of a batch. Where positions have gaps (Redis, transactions on Kafka) they are only known to lie
    between the first and the last, so the first one, where to look from, stands for all."""
    if positions.stop - positions.start == messages:
        return positions
    return [positions.start] * messages
