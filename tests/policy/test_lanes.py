"""Lanes keep the order of each key, run different keys side by side, and strand nothing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.lanes import Lanes

keys = st.one_of(st.none(), st.sampled_from("abcd"))


@given(st.lists(keys, max_size=60), st.integers(1, 8), st.randoms(use_true_random=False))
def test_order_per_key_width_and_completeness(offered: list[str | None], width: int, random: Random) -> None:
    lanes: Lanes[int] = Lanes(width)
    pending = list(enumerate(offered))
    running: list[tuple[str | None, int]] = []
    started: dict[str, list[int]] = {}
    ended = 0
    while pending or running or lanes.waiting:
        step = random.choice(["offer", "take", "done"])
        if step == "offer" and pending:
            number, key = pending.pop(0)
            lanes.offer(key, number)
        elif step == "done" and running:
            key, _ = running.pop(random.randrange(len(running)))
            lanes.done(key)
            ended += 1
        elif taken := lanes.take():
            key, number = taken
            if key is not None:
                assert key not in {one for one, _ in running}, "two of one key ran at once"
                assert number > max(started.setdefault(key, []), default=-1), "a key's order was broken"
                started[key].append(number)
            running.append(taken)
            assert len(running) <= width
        elif not pending and not running:
            assert not lanes.waiting, "something waits although nothing runs"
    assert ended == len(offered)
    assert lanes.deepest == 0
    assert lanes.running == 0


def test_a_busy_key_does_not_hold_up_another() -> None:
    lanes: Lanes[str] = Lanes(2)
    for key, item in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        lanes.offer(key, item)
    assert lanes.take() == ("a", "a1")
    assert lanes.take() == ("b", "b1")
    assert lanes.take() is None
    lanes.done("a")
    assert lanes.take() == ("a", "a2")
