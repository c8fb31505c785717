"""What a stream's handler is given for one attempt at a message or a batch, and the block that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from contracts.message import Delivery, Envelope
from contracts.module import StreamRoute
from contracts.ports import Db, Emit, Log, State
from runtime.emit import CollectingEmitter
from runtime.pipeline import Mounted
from runtime.streams.state import BatchState
from runtime.streams.transaction import MessageDb, Opens
from runtime.wiring import Adapters


class BareScope:
    """For handlers whose effects are nobody's but their own: there is nothing to commit."""

    def __init__(self, log: Log) -> None:
        self.log = log

    async def __aenter__(self) -> BareScope:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        return


class StreamScope:
    """Each part is made only when the handler asks for it. When the block ends well, what was done with `db` and what
    was emitted are committed together with the position; else nothing of it has happened."""

    def __init__(
        self,
        adapters: Adapters,
        mounted: Mounted,
        source: Envelope,
        opens: Opens,
        *,
        always: bool,
        added: Callable[[], None],
        state: BatchState | None = None,
        sources: Sequence[Delivery] = (),
    ) -> None:
        """`sources` are there for a batch; `added` is called once messages wait in the outbox of which nobody else is
        told."""
        self._adapters = adapters
        self._mounted = mounted
        self._source = source
        self._opens = opens
        self._always = always
        self._added = added
        self._adds = False
        self._state = state
        self._sources = sources
        self._db: MessageDb | None = None
        self._emitter: CollectingEmitter | None = None
        self.committed = False
        """The end of the message is in the ledger."""

    async def __aenter__(self) -> StreamScope:
        if self._state is not None:
            await self._state.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_well = False
        try:
            try:
                if kind is None:
                    await self._keep()
            except BaseException as failed:
                await self._end(type(failed), failed, failed.__traceback__)
                raise
            await self._end(kind, error, trace)
            ended_well = kind is None
        finally:
            if self._state is not None:
                self._state.end(well=ended_well)

    async def _keep(self) -> None:
        """What was emitted, and what is to be remembered."""
        emitted = self._emitter.collected() if self._emitter else []
        remembers = self._state is not None and self._state.changed
        if emitted or remembers or self._always:
            tx = await self._transaction.begin()
            if emitted:
                await self._adapters.ledger.outbox.add(emitted, tx=tx, wakes=False)
                self._adds = True
            if self._state is not None and remembers:
                await self._state.keep(tx)

    async def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None and self._db.began:
            await self._db.end(kind, error, trace)
            self.committed = kind is None
            if self.committed and self._adds:
                self._added()

    @property
    def db(self) -> Db:
        return self._transaction

    @property
    def _transaction(self) -> MessageDb:
        if self._db is None:
            adapters = self._adapters  # not this scope: with its thousands of messages it would be garbage in a circle
            self._db = MessageDb(self._opens, lambda: adapters.db)
        return self._db

    @property
    def state(self) -> State:
        assert self._state is not None  # injection has seen to it
        return self._state

    @property
    def log(self) -> Log:
        return self._adapters.log

    @property
    def emit(self) -> Emit:
        if self._emitter is None:
            route, traces = self._mounted.route, self._adapters.traces
            assert isinstance(route, StreamRoute)
            self._emitter = CollectingEmitter(
                self._adapters.clock,
                by=f"{route.group} {route.address}",
                source_id=self._source.id,
                correlation_id=self._source.correlation_id,
                sources=self._sources,
                carried=traces.headers if traces else None,
            )
        return self._emitter
