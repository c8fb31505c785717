"""Flags from the environment and from a file that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.clock.manual import ManualClock
from adapters.flags.given import LOOK_EVERY_S, GivenFlags
from contracts.errors import Faults
from contracts.flag import Flag

pytestmark = pytest.mark.anyio

CAREFUL = Flag(name="orders.careful", default=False, help="Look twice.")
WIDTH = Flag(name="orders.width", default=4, help="How many side by side.")
SHARE = Flag(name="orders.share", default=0.5, help="How much.")
WAY = Flag(name="orders.way", default="short", help="Which way.")


class World:
    def __init__(self, path: Path | None, **environ: str) -> None:
        self.clock = ManualClock()
        self.warnings: list[str] = []
        self.flags = GivenFlags(environ, path, clock=self.clock, warn=self.warnings.append)

    async def later(self) -> None:
        await self.clock.advance(LOOK_EVERY_S)


async def test_a_variable_outranks_the_file_and_that_the_default(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("orders.careful: true\norders.width: 8\norders.share: 1\nothers.flag: 3\n")
    flags = World(path, FLAG_ORDERS_WIDTH="16", FLAG_ORDERS_WAY="").flags
    await flags.open()
    assert (flags.get(CAREFUL), flags.get(WIDTH), flags.get(SHARE), flags.get(WAY)) == (True, 16, 1.0, "short")
    assert (flags.turned(CAREFUL).source, flags.turned(WIDTH).source) == ("file", "environment")
    assert flags.turned(WAY).source == "default"
    assert flags.turned(WAY).variable == "FLAG_ORDERS_WAY"
    assert flags.faults([CAREFUL]) == []


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("TRUE", True), ("yes", True), ("1", True), ("off", False), ("0", False)]
)
async def test_what_is_said_of_a_switch(text: str, value: bool) -> None:
    assert World(None, FLAG_ORDERS_CAREFUL=text).flags.get(CAREFUL) is value


@pytest.mark.parametrize(
    ("flag", "text", "inside", "wanted"),
    [
        (CAREFUL, "maybe", "2", "on or off"),
        (WIDTH, "1.5", "wide", "a whole number"),
        (WIDTH, "many", "true", "a whole number"),
        (SHARE, "half", "[1]", "a number"),
    ],
)
async def test_what_does_not_fit_is_told_and_counts_as_not_given(
    tmp_path: Path, flag: Flag[Any], text: str, inside: str, wanted: str
) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(f"{flag.name}: {inside}\n")
    flags = World(path, **{flags_variable(flag): text}).flags
    await flags.open()
    given, in_file = flags.faults([flag])
    assert given == f"{flags_variable(flag)}={text!r} is not {wanted}"
    assert in_file.startswith(f"{path}: {flag.name}: ")
    assert in_file.endswith(f" is not {wanted}")
    assert flags.get(flag) == flag.default


def flags_variable(flag: Flag[Any]) -> str:
    return "FLAG_" + flag.name.replace(".", "_").upper()


async def test_the_file_is_looked_at_again_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("orders.width: 8\n")
    world = World(path)
    await world.flags.open()
    path.write_text("orders.width: 12\n# longer\n")
    assert world.flags.get(WIDTH) == 8
    await world.later()
    assert world.flags.get(WIDTH) == 12


@pytest.mark.parametrize("content", ["orders.width: [", "- 3\n", None])
async def test_a_file_that_breaks_leaves_all_as_it_was_and_is_told_once(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("orders.width: 8\n")
    world = World(path)
    await world.flags.open()
    path.unlink()
    if content is not None:
        path.write_text(content)
    for _ in range(3):
        await world.later()
        assert world.flags.get(WIDTH) == 8
    assert len(world.warnings) == (1 if content else 3)
    assert str(path) in world.warnings[0]


@pytest.mark.parametrize("content", ["orders.width: [", "- 3\n", None, "x" * ((1 << 20) + 1)])
async def test_a_file_that_can_not_be_used_is_refused_at_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "flags.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Faults, match=r"flags\.yaml"):
        await World(path).flags.open()
