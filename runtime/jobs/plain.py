"""The running job as a handler in a thread sees it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from contracts.errors import Permanent
from contracts.job import Progress
from contracts.ports import Tx
from runtime.jobs.handle import JobHandle

T = TypeVar("T")


class PlainJob:
    """`contracts.job.Job` without what has to be awaited."""

    def __init__(self, handle: JobHandle) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        return self._handle.id

    @property
    def attempt(self) -> int:
        return self._handle.attempt

    @property
    def correlation_id(self) -> str:
        return self._handle.correlation_id

    @property
    def stopping(self) -> bool:
        return self._handle.stopping

    def saved(self, type_: type[T]) -> T | None:
        return self._handle.saved(type_)

    def checkpoint(self, state: Any, *, tx: Tx | None = None) -> NoReturn:
        """Raises `Permanent`: it would have to be awaited."""
        raise Permanent("Job.checkpoint is for handlers that await it: declare this one `async def`")

    def progress(self, progress: Progress) -> None:
        self._handle.progress(progress)
