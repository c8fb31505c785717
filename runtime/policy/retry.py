"""The one place that judges: what becomes of an attempt that raised.

Back-off is capped exponential with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015): the wait
before attempt n + 1 is uniform in [0, min(max_s, first_s * factor ** (n - 1))], but never under a tenth of the cap.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from typing import Literal

from contracts import outcome
from contracts.errors import Blocked, Failed, LeaseLost, Permanent, Unavailable, Undecodable
from contracts.module import Retry

Cut = Literal["cancelled", "drain", "lease", "end"]
"""Why a running handler was cut short: asked for, the process drains, the lease is lost, or its overrun ends it."""

UNAVAILABLE_RETRY_S = 5.0
"""About so long what failed for want of something that is down is left alone, where no breaker holds it."""

UNDECODABLE = "undecodable"
"""The reason of what its route's contract can't read."""

BLOCKED_RETRY_S = 10.0
"""About so long what waits for someone to do something is left alone."""


class Unstarted(Exception):
    """A handler never began: no thread was free for it. It may begin another time, and has used up nothing."""


def backoff_s(retry: Retry, attempt: int, random: float) -> float:
    """Seconds to wait after failed `attempt` (from 1); `random` is uniform in [0, 1)."""
    # Past this exponent the power only overflows: the cap was reached long before.
    ceiling = min(retry.max_s, retry.first_s * retry.factor ** min(attempt - 1, 64))
    return ceiling * (0.1 + 0.9 * random)


def judge(
    error: BaseException, *, retry: Retry, attempt: int, random: float, cut: Cut | None = None
) -> outcome.Outcome:
    """The outcome of attempt number `attempt` (from 1) that ended with `error`."""
    if cut is not None:
        return _judge_cut(cut)
    if isinstance(error, asyncio.CancelledError):
        return outcome.Release(reason="interrupted")
    if isinstance(error, Unstarted):
        return outcome.Release(reason=str(error), after_s=0.5 + random / 2)
    error = decisive(error)
    if isinstance(error, LeaseLost):
        return outcome.Release(reason="lease lost")
    text, trace = describe(error), _trace(error)
    if isinstance(error, Undecodable):
        return outcome.Dead(reason=UNDECODABLE, error=text, traceback="")
    if isinstance(error, Failed):
        return outcome.Dead(reason="", error=text, result=error.result)
    if isinstance(error, Permanent):
        return outcome.Dead(reason="permanent", error=text, traceback=trace)
    if isinstance(error, Unavailable):
        # Whether a breaker opens is decided elsewhere; what failed is released either way.
        return outcome.Release(reason=text, after_s=UNAVAILABLE_RETRY_S * (0.5 + random))
    if isinstance(error, Blocked):
        return outcome.Release(reason=text, after_s=BLOCKED_RETRY_S * (0.5 + random), blocked=True)
    if attempt >= retry.attempts:
        return outcome.Dead(reason=f"failed {attempt} times", error=text, traceback=trace)
    return outcome.Retry(after_s=backoff_s(retry, attempt, random), error=text, traceback=trace)


def decisive(error: BaseException) -> BaseException:
    """Of a group that a handler's tasks raised together, the one that decides: a lost lease before something that is
    down or blocked, that before anything else; `Permanent` only when all are."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    for kind in (LeaseLost, Unavailable, Blocked):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0] if all(isinstance(leaf, Permanent) for leaf in leaves) else error


def describe(error: BaseException) -> str:
    """One line for people: the kind of the error, unless it is ours and says all by itself."""
    text = str(error) or repr(error)
    return text if type(error).__module__ == "contracts.errors" else f"{type(error).__name__}: {text}"


def _judge_cut(cut: Cut) -> outcome.Outcome:
    match cut:
        case "cancelled":
            return outcome.Cancelled(reason="cancellation was asked for")
        case "end":
            return outcome.Cancelled(reason="it outlived the drain deadline, and its route says cancel")
        case "drain":
            return outcome.Release(reason="drain")
        case "lease":
            return outcome.Release(reason="lease lost")


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-40))
