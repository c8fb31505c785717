"""`task demo:stream`: live windows, an end by itself or by Ctrl-C, and every ride accounted for."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
from anyio import to_thread

from adapters.database.postgres import PostgresDb
from runtime import exits
from tests.e2e.product import environment, on_a_terminal, started
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(120)]

DEMO = (sys.executable, "-m", "examples.demo_stream")
RIDES = re.compile(r"(\d+) rides = (\d+) accepted \+ (\d+) refused")
LANDED = re.compile(r"(\d+) accepted = (\d+) landed in demo.rides \+ (\d+) quarantined")
COUNTED = re.compile(r"(\d+) accepted = (\d+) in windows \((\d+) of them late\) \+ (\d+) too late \+ (\d+) too far")


def numbers(pattern: re.Pattern[str], text: str) -> list[int]:
    found = pattern.search(text)
    assert found, f"{pattern.pattern} is not in {text}"
    return [int(number) for number in found.groups()]


async def test_windows_are_seen_to_close_and_every_ride_is_accounted_for(
    db: PostgresDb, database_url: str, tmp_path: Path
) -> None:
    environ = environment(tmp_path, database_url)
    with on_a_terminal(tmp_path, environ, *DEMO, "--seconds", "3", "--rate", "80", "--seed", "2") as terminal:
        code = await to_thread.run_sync(terminal.ended)
    assert code == exits.DONE, terminal.text
    assert "window from" in terminal.text
    made, accepted, refused = numbers(RIDES, terminal.text)
    assert made == 240 == accepted + refused
    assert 0 < refused < made, "some are wrong, most are not"
    taken, landed, quarantined = numbers(LANDED, terminal.text)
    assert taken == accepted == landed + quarantined
    assert quarantined > 0
    taken, counted, _, too_late, unusable = numbers(COUNTED, terminal.text)
    assert taken == accepted == counted + too_late + unusable
    assert await db.fetch_value("select count(*) from demo.rides") == landed
    assert await db.fetch_value("select sum(rides) from demo.rides_by_zone") == counted
    assert await db.fetch_value("select count(*) from demo.rides_by_zone where not closed") == 0


async def test_ctrl_c_ends_it_in_order(database_url: str, tmp_path: Path) -> None:
    with started(tmp_path, environment(tmp_path, database_url), *DEMO, "--seconds", "600") as demo:
        await until(lambda: bool(re.search(r"landed [1-9]", demo.out)), timeout_s=60, what="a ride that landed")
        demo.signal(signal.SIGINT)
        assert await demo.ended() == exits.DONE, demo.err + demo.out
    assert "Every ride is accounted for." in demo.out


async def test_a_worker_that_does_not_start_says_why(database_url: str, tmp_path: Path) -> None:
    with started(tmp_path, environment(tmp_path, database_url, DRAIN_TIMEOUT_S="-1"), *DEMO) as demo:
        assert await demo.ended() != exits.DONE
    assert "DRAIN_TIMEOUT_S" in demo.err
    assert "Traceback" not in demo.err
