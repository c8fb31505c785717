"""Signals and exit codes of a worker's process."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime import exits
from runtime.process import Signals, exit_code
from runtime.supervisor import DrainReport
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_passed_to_whoever_can_stop(signum: signal.Signals) -> None:
    signals, told = Signals(), list[str]()
    signals.pass_to(told.append)
    try:
        os.kill(os.getpid(), signum)
        await until(lambda: bool(told), what="the signal")
    finally:
        forget_signals()
    assert told == [signum.name]


async def test_what_came_before_there_was_anybody_is_kept() -> None:
    signals, told = Signals(), list[str]()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: bool(signals.kept), what="the signal")
        signals.pass_to(told.append)
    finally:
        forget_signals()
    assert told == ["SIGTERM"]


def forget_signals() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(signum)


def test_the_exit_code_says_whether_anything_was_cut_or_broke() -> None:
    clean = DrainReport(reason="SIGTERM", seconds=1.0, fates={"a": "finished"}, faults=[])
    cut = DrainReport(reason="SIGTERM", seconds=1.0, fates={"a": "requeued"}, faults=[])

    def code(report: DrainReport, *, failed: bool = False) -> int:
        worker: Any = SimpleNamespace(supervisor=SimpleNamespace(failed=failed))
        return exit_code(cast(Any, worker), report)

    assert (code(clean), code(cut), code(clean, failed=True)) == (exits.DONE, exits.CUT, exits.FAILED)
