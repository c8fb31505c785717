"""The breaker: it opens when it must, one probe at a time closes it, and its waits grow up to their cap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.policy.breaker import Breaker, Limits

fractions = st.floats(0, 1, exclude_max=True)
gaps = st.floats(0, 100)
limits = st.builds(
    Limits,
    failures=st.integers(1, 10),
    window_s=st.floats(0.1, 60),
    first_s=st.floats(0.01, 10),
    factor=st.floats(1, 4),
    max_s=st.floats(10, 60),
    calm_s=st.floats(0, 300),
)


@given(limits, st.lists(gaps, max_size=30))
def test_it_opens_exactly_when_enough_failed_within_the_window(chosen: Limits, waits: list[float]) -> None:
    breaker, now, instants = Breaker(chosen), 0.0, []
    for wait in waits:
        now += wait
        instants.append(now)
        recent = instants[-chosen.failures :]
        must = len(recent) == chosen.failures and now - recent[0] <= chosen.window_s
        assert breaker.failed(now, 0.5) is must
        if must:
            assert breaker.state == "open"
            return
        assert breaker.state == "closed"


@given(limits, fractions)
def test_one_failure_that_is_confirmed_opens_it(chosen: Limits, random: float) -> None:
    breaker = Breaker(chosen)
    assert breaker.failed(10.0, random, confirmed=True)
    assert (breaker.state, breaker.since) == ("open", 10.0)


@given(limits, st.lists(fractions, min_size=1, max_size=80))
def test_waits_grow_up_to_their_cap_while_probes_are_refused(chosen: Limits, randoms: list[float]) -> None:
    breaker, now = Breaker(chosen), 0.0
    breaker.failed(now, randoms[0], confirmed=True)
    ceiling = min(chosen.max_s, chosen.first_s)
    for random in randoms:
        wait = breaker.due_at - now
        assert ceiling / 2 * 0.999 <= wait <= ceiling * 1.001
        now = breaker.due_at
        assert breaker.probe(now)
        breaker.refused(now, random)
        ceiling = min(chosen.max_s, ceiling * chosen.factor)
    assert breaker.since == 0.0, "it is the same failure all the time"


@given(st.floats(0, 59), st.floats(60, 1e6))
def test_what_opens_again_soon_waits_longer_and_after_a_calm_it_begins_anew(soon: float, late: float) -> None:
    for calm, ceiling in ((soon, 2.0), (late, 1.0)):
        breaker = Breaker(Limits(first_s=1.0, factor=2.0, calm_s=60.0))
        breaker.failed(0.0, 0.0, confirmed=True)
        closed_at = breaker.due_at
        assert breaker.probe(closed_at)
        breaker.passed(closed_at)
        breaker.failed(closed_at + calm, 0.0, confirmed=True)
        assert abs(breaker.due_at - closed_at - calm - ceiling / 2) < 0.001


class Life(RuleBasedStateMachine):
    """Anything that can be told to a breaker, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(Limits(failures=3, window_s=30, first_s=1, factor=2, max_s=30, calm_s=60))
        self.now = 0.0
        self.probing = False
        self.may_close = False

    @rule(seconds=gaps)
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(random=fractions, confirmed=st.booleans())
    def something_fails(self, random: float, confirmed: bool) -> None:
        before = self.breaker.state
        opened = self.breaker.failed(self.now, random, confirmed=confirmed)
        assert opened is (before == "closed" and self.breaker.state == "open")
        if before != "closed":
            assert self.breaker.state == before
        assert opened or not confirmed or before != "closed"

    @rule()
    def a_probe_is_asked_for(self) -> None:
        due = self.breaker.state == "open" and self.now >= self.breaker.due_at
        assert self.breaker.probe(self.now) is due
        assert not (due and self.probing), "one at a time"
        self.probing |= due

    @precondition(lambda self: self.probing)
    @rule(answer=st.sampled_from(["passed", "refused", "untold"]), random=fractions)
    def the_probe_ends(self, answer: str, random: float) -> None:
        self.probing = False
        if answer == "passed":
            self.breaker.passed(self.now)
            assert self.breaker.state == "closed"
        elif answer == "refused":
            self.breaker.refused(self.now, random)
            assert self.breaker.due_at > self.now
        else:
            self.breaker.untold(self.now)
            assert self.breaker.due_at == self.now

    @precondition(lambda self: not self.probing)
    @rule(random=fractions)
    def an_answer_that_nobody_asked_for_changes_nothing(self, random: float) -> None:
        before = self.breaker.state, self.breaker.due_at
        self.breaker.passed(self.now)
        self.breaker.refused(self.now, random)
        self.breaker.untold(self.now)
        assert (self.breaker.state, self.breaker.due_at) == before

    @invariant()
    def it_is_half_open_exactly_while_it_is_probed(self) -> None:
        assert (self.breaker.state == "half-open") is self.probing

    @invariant()
    def an_open_one_is_probed_within_the_cap(self) -> None:
        if self.breaker.state == "open":
            assert self.breaker.due_at <= self.now + 30.0


TestLife = Life.TestCase
