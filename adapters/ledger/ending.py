"""What a settlement asks of a job's row, whatever keeps the row."""

from __future__ import annotations

import msgspec

from adapters.ledger import storable
from contracts import outcome
from contracts.errors import BadInput
from contracts.job import JobState
from contracts.ports.ledger import Settlement

LONGEST_WAIT_S = 366 * 24 * 3600.0
"""A longer wait before the next run is shortened to this."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is where the job goes (to `cancelled` instead of `queued` when its cancellation was asked for).

    With `after_s` None a job that goes back keeps its place in the line; with `error` None the row keeps the error and
    the traceback that it has.
    """

    state: JobState
    counts: bool = True
    after_s: float | None = None
    error: str | None = None
    traceback: str | None = None
    result: str | None = None
    progress: str | None = None


def ending_of(settlement: Settlement) -> Ending:
    """Always an ending: a result that can't be kept fails its own job, and says so, instead of its neighbours."""
    progress = storable.progress(settlement.progress)
    match settlement.outcome:
        case outcome.Done():
            try:
                result = _kept(settlement)
            except BadInput as fault:
                return unkept(settlement, str(fault))
            return Ending(state=JobState.DONE, result=result, progress=progress)
        case outcome.Retry(after_s=after_s, counts=counts, error=error, traceback=traceback):
            return Ending(
                state=JobState.QUEUED,
                counts=counts,
                after_s=wait_s(after_s),
                error=storable.cut(error),
                traceback=storable.cut(traceback),
                progress=progress,
            )
        case outcome.Dead(reason=reason, error=error, traceback=traceback):
            said = f"{reason}: {error}" if reason and error else reason or error
            try:
                result = _kept(settlement)
            except BadInput as fault:
                return unkept(settlement, str(fault))
            return Ending(
                state=JobState.FAILED,
                error=storable.cut(said),
                traceback=storable.cut(traceback),
                result=result,
                progress=progress,
            )
        case outcome.Cancelled(reason=reason):
            return Ending(state=JobState.CANCELLED, error=storable.cut(reason) if reason else None, progress=progress)
        case outcome.Release(after_s=after_s):
            return Ending(state=JobState.QUEUED, counts=False, after_s=wait_s(after_s) or None, progress=progress)


def _kept(settlement: Settlement) -> str | None:
    """Raises `BadInput`."""
    return None if settlement.result is None else storable.json(settlement.result, what="the result")


def unkept(settlement: Settlement, why: str) -> Ending:
    """The ending of a run whose own one the store refuses."""
    return Ending(
        state=JobState.FAILED,
        error=storable.cut(f"it ran to its end ({type(settlement.outcome).__name__}), but {why}"),
        traceback="",
        progress=storable.progress(settlement.progress),
    )


def wait_s(after_s: float) -> float:
    """The wait as it is kept: not below 0, and not for ever."""
    # The comparison is false for NaN as well.
    return min(after_s, LONGEST_WAIT_S) if after_s > 0 else 0.0
