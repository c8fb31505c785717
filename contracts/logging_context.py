"""Whose work is running now: what every log line, metric and `application_name` made during it carries.

    with work(correlation_id=envelope.correlation_id, job_id=claim.id, module="batch_etl"):
        ...  # every line logged here, and in tasks started here, carries the three

The runtime enters it, handlers need not know of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the running work; empty where it isn't."""

    correlation_id: str = ""
    job_id: str = ""
    module: str = ""


_NOTHING_KNOWN = Work()
_WORK: ContextVar[Work] = ContextVar("millrace_work", default=_NOTHING_KNOWN)


def current_work() -> Work:
    """The innermost `work` around the caller, in this task."""
    return _WORK.get()


@contextmanager
def work(*, correlation_id: str = "", job_id: str = "", module: str = "") -> Iterator[Work]:
    """Name the work of this block; what is left empty keeps the value of the block around it."""
    outer = _WORK.get()
    inner = Work(
        correlation_id=correlation_id or outer.correlation_id,
        job_id=job_id or outer.job_id,
        module=module or outer.module,
    )
    token = _WORK.set(inner)
    try:
        yield inner
    finally:
        _WORK.reset(token)
