"""A route is stopped when nearly everything fails, and only then; it is tried again with few messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.storm import FIRST_PAUSE_S, MAX_PAUSE_S, SHARE, TRIAL, WINDOW, Storm


def pauses(storm: Storm, *ends: bool) -> list[float]:
    return [pause_s for well in ends if (pause_s := storm.ended(well=well)) is not None]


def test_a_whole_window_of_failures_pauses_it() -> None:
    storm = Storm()
    assert pauses(storm, *[False] * (WINDOW - 1)) == []
    assert pauses(storm, False) == [FIRST_PAUSE_S]


def test_after_a_pause_few_messages_decide_and_the_pause_grows() -> None:
    storm = Storm()
    pauses(storm, *[False] * WINDOW)
    assert pauses(storm, *[False] * TRIAL) == [2 * FIRST_PAUSE_S]
    assert max(pauses(storm, *[False] * TRIAL * 40)) == MAX_PAUSE_S


def test_a_trial_that_goes_well_ends_it() -> None:
    storm = Storm()
    pauses(storm, *[False] * WINDOW)
    assert pauses(storm, *[True] * WINDOW) == []
    assert pauses(storm, *[False] * (WINDOW - 6)) == [], "it takes a whole window again"


@given(st.lists(st.booleans(), max_size=400))
def test_what_goes_well_often_enough_is_never_paused(ends: list[bool]) -> None:
    storm = Storm()
    recent: list[bool] = []
    for well in ends:
        recent = [*recent, well][-WINDOW:]
        if storm.ended(well=well) is not None:
            assert recent.count(False) >= min(SHARE * TRIAL, SHARE * len(recent))
            return
        if len(recent) == WINDOW:
            assert recent.count(False) < SHARE * WINDOW
