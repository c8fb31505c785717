"""Suspects run alone: nothing else runs beside them, and everything else goes on afterwards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.streams.solitude import Solitude


class Hall:
    """Others start whenever they may; suspects start when they are let."""

    def __init__(self) -> None:
        self.solitude = Solitude()
        self.others = 0
        self.suspects = 0
        self.waiting = 0
        self.finished_suspects = 0
        self.solitude.on_reopened(self.pump)

    def other_comes(self) -> None:
        self.waiting += 1
        self.pump()

    def pump(self) -> None:
        while self.waiting and not self.solitude.closed:
            self.waiting -= 1
            self.others += 1
            self.solitude.began()

    def suspect_comes(self, *, starts: bool) -> None:
        def start() -> None:
            if starts:
                self.suspects += 1
                self.solitude.began()

        self.solitude.suspect(start)

    def one_ends(self) -> None:
        if self.suspects:
            self.suspects -= 1
            self.finished_suspects += 1
        elif self.others:
            self.others -= 1
        else:
            return
        self.solitude.ended()


@given(st.lists(st.sampled_from(["other", "suspect", "suspect that went away", "end"]), max_size=60))
def test_a_suspect_is_alone_and_everybody_gets_their_turn(steps: list[str]) -> None:
    hall = Hall()
    came = 0
    for step in steps:
        match step:
            case "other":
                hall.other_comes()
            case "suspect":
                came += 1
                hall.suspect_comes(starts=True)
            case "suspect that went away":
                hall.suspect_comes(starts=False)
            case _:
                hall.one_ends()
        assert hall.suspects + (hall.others if hall.suspects else 0) <= 1
    for _ in range(200):
        hall.one_ends()
    assert (hall.finished_suspects, hall.waiting, hall.others, hall.solitude.closed) == (came, 0, 0, False)
