"""One run of a job on its way through the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from contracts import outcome
from contracts.ports import Clock, Metrics
from runtime.pipeline import Mounted, Scope
from runtime.policy.retry import Cut


class JobWork(msgspec.Struct, kw_only=True):
    """Implements `runtime.pipeline.Work`."""

    mounted: Mounted
    decode: Callable[[], Any]
    attempt: int
    scope: Scope
    clock: Clock
    metrics: Metrics
    carried: Callable[[], Sequence[Mapping[str, str]]]
    about: Callable[[], AbstractContextManager[object]]
    admit: Callable[[], outcome.Outcome | None]
    settle: Callable[[outcome.Outcome], Awaitable[None]]
    cut: Callable[[], Cut | None]
