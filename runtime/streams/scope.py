"""What a stream's handler is given for one message or one batch."""

from __future__ import annotations

from contracts.ports import Db, Emit, Log
from runtime.emit import Emitter
from runtime.pipeline import Mounted
from runtime.wiring import Adapters


class StreamScope:
    """Each part is made only when the handler asks for it."""

    def __init__(self, adapters: Adapters, mounted: Mounted, *, source_id: str, correlation_id: str) -> None:
        self._adapters = adapters
        self._mounted = mounted
        self._source_id = source_id
        self._correlation_id = correlation_id

    async def __aenter__(self) -> StreamScope:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        return

    @property
    def db(self) -> Db:
        name = f"millrace {self._mounted.module.name} {self._correlation_id}"
        return self._adapters.db.scoped(name=name[:63], guard=None)

    @property
    def log(self) -> Log:
        return self._adapters.log

    @property
    def emit(self) -> Emit:
        adapters = self._adapters
        return Emitter(adapters.bus, adapters.clock, source_id=self._source_id, correlation_id=self._correlation_id)
