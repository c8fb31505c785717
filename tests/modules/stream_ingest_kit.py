"""What the tests of `stream_ingest` land batches with: real PostgreSQL, a real folder, and a state that is kept as the
runtime keeps it: with the transaction of the batch, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adapters.clock.manual import ManualClock
from adapters.files.local import LocalFiles
from adapters.metrics.memory import MemoryMetrics
from contracts.event import Event
from contracts.message import Partition
from contracts.ports import Db, Files
from contracts.stream_ingest import BatchLanded
from modules.stream_ingest import table
from modules.stream_ingest.landing import Landing

T = TypeVar("T")

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)

ORDER_COLUMNS: list[dict[str, Any]] = [
    {"name": "order_id", "type": "int", "nullable": False, "min": 1},
    {"name": "customer", "source": "who", "personal": True, "max_length": 20},
    {"name": "placed_at", "type": "timestamp", "nullable": False},
    {"name": "amount", "type": "decimal", "precision": 12, "scale": 2},
]


def declared(land: dict[str, Any], columns: Sequence[dict[str, Any]] = ORDER_COLUMNS, **settings: Any) -> Event:
    """An event as its YAML would be decoded."""
    plain = {"name": "order_placed", "topic": "orders.placed", "columns": list(columns), "land": land}
    event = msgspec.convert(plain | {"time": {"column": "placed_at"}} | settings, Event)
    assert event.faults() == []
    return event


def order(order_id: int, *, at: datetime = NOW, **fields: Any) -> bytes:
    return msgspec.json.encode({"order_id": order_id, "who": "ada", "placed_at": at, "amount": "1.50"} | fields)


class BatchState:
    """Implements `State` for one attempt."""

    def __init__(self, partition: Partition, positions: range | None, kept: Mapping[str, bytes]) -> None:
        self.partition = partition
        self.positions = positions
        self.changes: dict[str, bytes | None] = {}
        self._kept = kept

    async def restored(self, make: Callable[[Mapping[str, bytes]], T]) -> T:
        """Always made anew, as by another worker after each batch."""
        return make(self._kept)

    def save(self, name: str, data: bytes | None) -> None:
        self.changes[name] = data


class Crashed(Exception):
    """Raised where the process is to die."""


class Lander:
    """Lands batches of one event on one partition."""

    def __init__(self, db: Db, root: Path, event: Event, *, index: int = 0) -> None:
        self.db = db
        self.files: Files = LocalFiles(root)
        self.root = root
        self.event = event
        self.place = Partition(event.topic, index)
        self.clock = ManualClock(start_at=NOW)
        self.metrics = MemoryMetrics()
        self.landing = Landing(event)
        self.kept: dict[str, bytes] = {}
        self.emitted: list[BatchLanded] = []
        self.next = 0

    async def prepare(self) -> None:
        target = table.Target.of(self.event)
        assert target is not None
        await table.prepare(self.db, target)

    async def land(self, *batch: bytes, positions: range | None = None, crash: bool = False) -> None:
        """`crash`: just before the commit, after which everything begins again where it was."""
        positions = positions or range(self.next, self.next + len(batch))
        await self._attempt(batch, positions, crash=crash)
        self.next = positions.stop

    async def tick(self) -> None:
        await self._attempt((), None, crash=False)

    async def wait(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def _attempt(self, batch: Sequence[bytes], positions: range | None, *, crash: bool) -> None:
        state = BatchState(self.place, positions, self.kept)
        sent: list[BatchLanded] = []

        async def emit(address: str, message: Any, **_: Any) -> str:
            assert address == "ingest.batch_landed"
            sent.append(message)
            return "id"

        async with self.db.transaction() as tx:
            db: Any = tx  # as the runtime's: all that a batch does with it is one transaction
            await self.landing.land(batch, state, db, emit, self.files, self.clock, self.metrics)
            if crash:
                raise Crashed
        for name, data in state.changes.items():
            if data is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = data
        self.emitted += sent

    async def rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in await self.db.fetch(sql, *args)]

    async def refused(self) -> list[tuple[int, str, str, str]]:
        """Position, column, code and text of each refused message."""
        found = await self.rows(
            "select line, reasons, raw from millrace.quarantine where dataset = $1 and file = $2 and partition = $3"
            " order by line, id",
            self.event.name,
            self.place.address,
            self.place.index,
        )
        return [(int(line), reasons[0]["column"], reasons[0]["code"], raw) for line, reasons, raw in found]

    async def manifest(self) -> list[tuple[str, int]]:
        return await self.rows(
            "select path, rows from millrace.lake_files where lake = $1 order by path", self.event.name
        )

    def on_disk(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)
