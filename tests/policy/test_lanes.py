"""Lanes keep the order of each key, run different keys side by side, let sources take turns, and strand nothing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.lanes import Lanes

keys = st.one_of(st.none(), st.sampled_from("abcd"))
offers = st.lists(st.tuples(st.integers(0, 2), keys), max_size=60)
"""Sources and keys. A key may come from several sources."""


@given(offers, st.integers(1, 8), st.randoms(use_true_random=False))
def test_order_per_key_width_and_completeness(
    offered: list[tuple[int, str | None]], width: int, random: Random
) -> None:
    lanes: Lanes[int, int] = Lanes(width)
    pending = list(enumerate(offered))
    running: list[tuple[str | None, int]] = []
    held: set[int] = set()
    started: dict[str, list[int]] = {}
    ended = 0
    while pending or running or lanes.waiting:
        step = random.choice(["offer", "take", "hold", "go on", "done"])
        if step == "offer" and pending:
            number, (source, key) = pending.pop(0)
            lanes.offer(source, key, number)
        elif step == "done" and running:
            key, _ = running.pop(random.randrange(len(running)))
            lanes.done(key)
            ended += 1
        elif step == "go on":
            lanes.go_on()
            held.clear()
        elif taken := lanes.take():
            key, number = taken
            source = offered[number][0]
            assert source not in held, "a source that is held had a turn"
            if step == "hold":
                lanes.hold(source, key, number)
                held.add(source)
                continue
            if key is not None:
                assert key not in {one for one, _ in running}, "two of one key ran at once"
                assert number > max(started.setdefault(key, []), default=-1), "a key's order was broken"
                started[key].append(number)
            running.append(taken)
            assert len(running) <= width
        elif not pending and not running and not held:
            assert not lanes.waiting, "something waits although nothing runs"
    assert ended == len(offered)
    assert lanes.deepest == 0
    assert lanes.running == 0


def test_a_busy_key_does_not_hold_up_another() -> None:
    lanes: Lanes[int, str] = Lanes(2)
    for key, item in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        lanes.offer(0, key, item)
    assert lanes.take() == ("a", "a1")
    assert lanes.take() == ("b", "b1")
    assert lanes.take() is None
    lanes.done("a")
    assert lanes.take() == ("a", "a2")


def test_sources_take_turns() -> None:
    lanes: Lanes[int, int] = Lanes(4)
    for number in range(4):
        lanes.offer(number // 2, None, number)
    assert [lanes.take() for _ in range(4)] == [(None, 0), (None, 2), (None, 1), (None, 3)]
