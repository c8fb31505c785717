"""Whose work is running now: what every log line, metric and `application_name` made during it carries.

    with work(correlation_id=envelope.correlation_id, job_id=claim.id, module="batch_etl"):
        ...  # every line logged here, and in tasks started here, carries the three

The runtime enters it, handlers need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar

import msgspec


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the running work; empty where it isn't."""

    correlation_id: str = ""
    job_id: str = ""
    module: str = ""


_WORK: ContextVar[Callable[[], Work]] = ContextVar("millrace_work", default=Work)


def current_work() -> Work:
    """The innermost `work` around the caller, in this task."""
    return _WORK.get()()


class named_by:
    """Name the work of this block by what `tell` returns. It is asked each time that somebody wants to know, which is
    rare: a hot path pays for no name that nobody reads."""

    __slots__ = ("_tell", "_token")

    def __init__(self, tell: Callable[[], Work]) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        self._token = _WORK.set(self._tell)

    def __exit__(self, *_raised: object) -> None:
        _WORK.reset(self._token)


def work(*, correlation_id: str = "", job_id: str = "", module: str = "") -> AbstractContextManager[None]:
    """Name the work of this block; what is left empty keeps the value of the block around it."""
    outer = current_work()
    inner = Work(
        correlation_id=correlation_id or outer.correlation_id,
        job_id=job_id or outer.job_id,
        module=module or outer.module,
    )
    return named_by(lambda: inner)
