"""The demonstration's account: a ride that is missing anywhere, or there twice, is seen."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from examples.demo_stream.account import Sending, accounted, summary
from examples.demo_stream.rides import Rides
from examples.demo_stream.watching import Seen, Window
from examples.demo_stream.worker import in_a_line

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def seen(*, landed: int = 8, quarantined: int = 2, counted: int = 7, aside: int = 1, unusable: int = 2) -> Seen:
    window = Window(
        zone="Docks", window_start=AT, rides=counted, takings=Decimal(1), events=counted, closed=True, revision=0
    )
    return Seen(at=AT, windows=[window], landed=landed, quarantined=quarantined, aside=aside, unusable=unusable)


def test_sums_that_hold() -> None:
    assert accounted(Sending(accepted=10, refused=3), seen())
    assert "Every ride is accounted for." in summary(Sending(accepted=10, refused=3), seen())


@pytest.mark.parametrize("wrong", [{"landed": 7}, {"quarantined": 3}, {"counted": 8}, {"aside": 0}, {"unusable": 3}])
def test_one_that_is_missing_or_there_twice(wrong: dict[str, int]) -> None:
    assert not accounted(Sending(accepted=10, refused=3), seen(**wrong))
    assert "DO NOT HOLD" in summary(Sending(accepted=10, refused=3), seen(**wrong))


def test_a_seed_makes_the_same_rides() -> None:
    one, other = Rides("a", 7), Rides("a", 7)
    made = [one.next(AT) for _ in range(100)]
    assert made == [other.next(AT) for _ in range(100)]
    assert len({ride.id for ride in made}) == 100


def test_what_the_worker_warns_of_is_told_in_a_line() -> None:
    said = {"message": "the event loop is blocked", "context": {"late_s": 1.5, "stack": "File a\nFile b\n"}}
    assert in_a_line(said) == "the event loop is blocked late_s=1.5"
    assert in_a_line({"message": "gone"}) == "gone"
