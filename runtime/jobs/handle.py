"""The running job as its handler sees it."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from contracts.errors import Undecodable
from contracts.job import Claim, Progress
from contracts.ports import Tx
from contracts.ports.ledger import Queue
from runtime.liveness import note_progress
from runtime.policy.retry import Cut

T = TypeVar("T")


class JobHandle:
    """Implements `contracts.job.Job` over a claim. `cut` is why it was ended, when it was."""

    def __init__(self, claim: Claim, queue: Queue) -> None:
        self.claim = claim
        self.latest: Progress | None = None
        self.unsaved = False
        self.checkpointed = claim.checkpoint is not None
        self.last_checkpoint = claim.checkpoint
        self.cut: Cut | None = None
        self._asked: Cut | None = None
        self._queue = queue

    @property
    def id(self) -> str:
        return self.claim.id

    @property
    def attempt(self) -> int:
        return self.claim.attempt

    @property
    def correlation_id(self) -> str:
        return self.claim.correlation_id

    @property
    def stopping(self) -> bool:
        return self._asked is not None

    def saved(self, type_: type[T]) -> T | None:
        if self.claim.checkpoint is None:
            return None
        try:
            return msgspec.json.decode(self.claim.checkpoint, type=type_)
        except msgspec.ValidationError as error:
            raise Undecodable(f"the checkpoint of job {self.id} is not a {type_}: {error}") from None

    async def checkpoint(self, state: Any, *, tx: Tx | None = None) -> None:
        note_progress()
        encoded = msgspec.json.encode(state)
        await self._queue.checkpoint(self.claim, encoded, tx=tx)
        note_progress()
        self.checkpointed = True
        self.last_checkpoint = encoded
        if self._asked and tx is None:
            self.cut = self._asked
            raise asyncio.CancelledError

    def progress(self, progress: Progress) -> None:
        note_progress()
        self.latest = progress
        self.unsaved = True

    def why_cut(self) -> Cut | None:
        return self.cut

    def ask_to_stop(self, why: Cut) -> None:
        """The handler sees `stopping`, and its next checkpoint ends it."""
        self._asked = self._asked or why
