"""Flags as modules declare them, handlers ask for them, and operators see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Faults
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Flags
from tests.kit.command_line import CommandLine
from tests.kit.harness import harness


class RunAsk(Contract, frozen=True):
    pass


def asking() -> Module:
    module = Module("asking", kind="job", summary="Says how its flag stands.")
    careful = module.flag("careful", False, "Look twice.")

    @module.job("run.ask", RunAsk)
    def ask(cmd: RunAsk, flags: Flags) -> bool:
        return flags.get(careful)

    return module


@pytest.mark.anyio
async def test_a_handler_asks_for_a_flag() -> None:
    async with harness(asking()) as running:
        assert await running.job("run.ask", RunAsk()) is False
    async with harness(asking(), secrets={"FLAG_ASKING_CAREFUL": "on"}) as running:
        assert await running.job("run.ask", RunAsk()) is True


@pytest.mark.anyio
async def test_a_worker_does_not_start_with_a_flag_that_does_not_fit() -> None:
    with pytest.raises(Faults, match="FLAG_ASKING_CAREFUL='maybe' is not on or off"):
        async with harness(asking(), secrets={"FLAG_ASKING_CAREFUL": "maybe"}):
            pass


def test_names_are_checked_when_they_are_declared() -> None:
    module = Module("asking", kind="job", summary="Says how its flag stands.")
    module.flag("careful", False, "Look twice.")
    with pytest.raises(ValueError, match="declares the flag careful twice"):
        module.flag("careful", True, "Look twice.")
    with pytest.raises(ValueError, match="use lower case letters"):
        module.flag("Careful one", True, "Look twice.")


def test_flags_are_listed(millrace: CommandLine) -> None:
    Path("flags.yaml").write_text("steps.width: 8\n")
    millrace.set(FLAG_STEPS_CAREFUL="on", FLAGS_FILE="flags.yaml")
    listed = {line["flag"]: line for line in millrace("flags", "list", "--output", "json").json()}
    assert listed["steps.careful"]["value"] is True
    assert listed["steps.careful"]["source"] == "environment"
    assert listed["steps.width"] == {
        "flag": "steps.width",
        "value": 8,
        "source": "file",
        "default": 4,
        "variable": "FLAG_STEPS_WIDTH",
        "summary": "How many side by side.",
    }
    millrace.set(FLAG_STEPS_CAREFUL="perhaps")
    ran = millrace("flags", "list")
    assert ran.code == 2
    assert "FLAG_STEPS_CAREFUL='perhaps' is not on or off" in ran.err
