"""The judge: every way in which an attempt can end has one outcome."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import outcome
from contracts.errors import (
    BadInput,
    Failed,
    Faults,
    LeaseLost,
    NotFound,
    Permanent,
    Transient,
    Unavailable,
    Undecodable,
)
from contracts.module import Retry
from runtime.policy.retry import Unstarted, backoff_s, decisive, describe, judge

fractions = st.floats(0, 1, exclude_max=True)
retries = st.builds(
    Retry,
    attempts=st.integers(1, 20),
    first_s=st.floats(0.001, 60),
    factor=st.floats(1, 10),
    max_s=st.floats(0.001, 3600),
)


@given(retries, st.integers(1, 10_000), fractions)
def test_a_wait_is_never_over_the_cap_and_never_nothing(retry: Retry, attempt: int, random: float) -> None:
    wait_s = backoff_s(retry, attempt, random)
    assert 0 < wait_s <= retry.max_s


@given(retries, st.integers(1, 100), fractions)
def test_later_attempts_wait_at_least_as_long_for_the_same_luck(retry: Retry, attempt: int, random: float) -> None:
    assert backoff_s(retry, attempt + 1, random) >= backoff_s(retry, attempt, random)


@given(retries, st.integers(1, 30), fractions)
def test_a_transient_error_uses_up_attempts_and_then_is_dead(retry: Retry, attempt: int, random: float) -> None:
    became = judge(Transient("no"), retry=retry, attempt=attempt, random=random)
    if attempt >= retry.attempts:
        assert isinstance(became, outcome.Dead)
    else:
        assert isinstance(became, outcome.Retry)
        assert became.counts


@given(retries, st.integers(1, 10_000), fractions)
def test_a_dependency_that_is_down_never_uses_up_an_attempt(retry: Retry, attempt: int, random: float) -> None:
    became = judge(Unavailable("db", "gone"), retry=retry, attempt=attempt, random=random)
    assert isinstance(became, outcome.Release)
    assert became.reason == "db is not available: gone"
    assert became.after_s > 0


def together(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("tasks failed", [errors[0], ExceptionGroup("inner", list(errors[1:]))])


def test_of_errors_that_tasks_raised_together_the_decisive_one_is_judged() -> None:
    down, lost, wrong, odd = Unavailable("db", "gone"), LeaseLost("moved"), BadInput("no"), RuntimeError("odd")
    assert decisive(together(odd, wrong, down)) is down
    assert decisive(together(down, wrong, lost)) is lost
    assert decisive(together(wrong, NotFound("no"))) is wrong
    mixed = together(wrong, odd)
    assert decisive(mixed) is mixed, "it may succeed another time"
    assert decisive(odd) is odd
    became = judge(together(odd, down), retry=Retry(attempts=1), attempt=1, random=0)
    assert isinstance(became, outcome.Release)


def test_what_never_began_is_released() -> None:
    became = judge(Unstarted("no thread was free"), retry=Retry(attempts=1), attempt=1, random=0)
    assert became == outcome.Release(reason="no thread was free", after_s=0.5)


@pytest.mark.parametrize(
    "error", [Permanent("no"), BadInput(["a", "b"]), Undecodable("x"), NotFound("no dataset"), Faults("x", ["y"])]
)
def test_a_permanent_error_is_dead_at_once(error: Exception) -> None:
    became = judge(error, retry=Retry(attempts=5), attempt=1, random=0.5)
    assert isinstance(became, outcome.Dead)
    assert str(error) in became.error


def test_a_failure_that_is_a_result_is_dead_with_it() -> None:
    became = judge(Failed("3 are wrong", {"wrong": 3}), retry=Retry(), attempt=1, random=0.5)
    assert became == outcome.Dead(reason="", error="3 are wrong", result={"wrong": 3})


@given(st.sampled_from(["cancelled", "drain", "lease", "end"]))
def test_what_was_cut_is_judged_by_why_and_not_by_its_error(cut: str) -> None:
    for error in (asyncio.CancelledError(), RuntimeError("while being cancelled")):
        became = judge(error, retry=Retry(), attempt=99, random=0.5, cut=cut)  # type: ignore[arg-type]
        wanted = outcome.Cancelled if cut in ("cancelled", "end") else outcome.Release
        assert isinstance(became, wanted)


def test_a_lost_lease_and_a_stray_cancellation_hand_the_work_back() -> None:
    for error in (LeaseLost("x"), asyncio.CancelledError()):
        assert isinstance(judge(error, retry=Retry(attempts=1), attempt=1, random=0), outcome.Release)


def test_an_unknown_error_keeps_its_kind_and_traceback() -> None:
    try:
        raise KeyError("sku")
    except KeyError as error:
        became = judge(error, retry=Retry(attempts=1), attempt=1, random=0)
    assert isinstance(became, outcome.Dead)
    assert became.error == "KeyError: 'sku'"
    assert "test_retry.py" in became.traceback


def test_our_own_errors_describe_themselves_without_their_class() -> None:
    assert describe(Permanent("the file is not CSV")) == "the file is not CSV"
    assert describe(ValueError()) == "ValueError: ValueError()"
