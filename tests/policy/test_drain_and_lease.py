"""The phases of a process, and a worker's belief about its lease."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.drain import Phase, PhaseMachine, asking_s
from runtime.policy.lease import LeaseKeeper


@given(st.lists(st.sampled_from(Phase), max_size=20))
def test_a_phase_never_goes_back(wanted: list[Phase]) -> None:
    machine = PhaseMachine()
    for phase in wanted:
        before = machine.phase
        if phase < before:
            with pytest.raises(ValueError, match="can't become"):
                machine.enter(phase)
            assert machine.phase == before
        else:
            assert machine.enter(phase) == (phase != before)
            assert machine.phase == phase


@given(st.floats(0.01, 3600))
def test_work_is_asked_to_stop_before_the_deadline_and_has_time_left(timeout_s: float) -> None:
    assert 0 < asking_s(timeout_s) < timeout_s
    assert timeout_s - asking_s(timeout_s) <= 5.0 + 1e-6


@given(st.floats(0.5, 120), st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30), st.booleans()), max_size=30))
def test_the_worker_never_believes_in_a_lease_that_the_database_has_ended(
    lease_s: float, renewals: list[tuple[float, float, bool]]
) -> None:
    """The database starts the lease when the statement arrives: after it was sent, and before its answer."""
    now = 0.0
    keeper = LeaseKeeper(lease_s, now)
    database_ends_at = now + lease_s
    for wait_s, latency_s, arrives in renewals:
        now += wait_s
        if keeper.lost(now):
            return
        sent_at = now
        if arrives and sent_at < database_ends_at:
            database_ends_at = sent_at + latency_s / 2 + lease_s
            now += latency_s
            keeper.renewed(sent_at)
        else:
            now += latency_s
        if not keeper.lost(now):
            assert now < database_ends_at
            assert 0 <= keeper.next_renewal_in_s(now) <= lease_s / 3 + 1e-6
