"""A benchmark from its rounds to what a user is told, the second time twice as slow: tiny ones, on a real server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import track
from benchmarks.bed import Bed, CannotMeasure
from benchmarks.history import store
from benchmarks.history.record import Code
from benchmarks.server import GIVEN
from benchmarks.short import SHORT, Commands, Short, Wanted

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


def tiny(rate: float, *, ends_badly: bool = False, stored: str = "") -> Short:
    """A contestant that says how fast it was: what each round gives varies by its process's number."""
    program = f"import os, json; print(json.dumps({{'rows_per_s': {rate} + os.getpid() % 3 * {rate} / 300}}))"

    @asynccontextmanager
    async def commands(bed: Bed) -> AsyncIterator[Commands]:
        await bed.postgres()
        if stored:
            raise CannotMeasure(stored)
        yield {"load": ["-c", "raise SystemExit('no rows')" if ends_badly else program]}

    wanted = (Wanted("load", "rows_per_s", "first load", "rows/s", "more"),)
    return Short(what="rows", settings={"rows": 3}, wanted=wanted, commands=commands)


@pytest.fixture
def given_server(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, database_url)


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the code finds other one, as after an edit."""
    states = iter("abc")
    monkeypatch.setattr(track, "this_code", lambda: Code(commit="f" * 40, dirty=True, state=next(states)))


@pytest.mark.usefixtures("given_server", "other_code")
async def test_twice_as_slow_is_told_and_fails_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.jsonl"

    async def run(rate: float) -> tuple[int, str]:
        code = await track.main({"tiny": tiny(rate)}, 3, file, against="", fail_on_slower=True)
        return code, capsys.readouterr().out

    code, said = await run(1000.0)
    assert (code, said.count("the first of its kind")) == (0, 1)
    code, said = await run(500.0)
    assert code == 1
    assert re.search(r"^tiny +first load +rows/s +1,00\d +50\d +-(49|50)\.\d% .* slower$", said, re.MULTILINE)
    assert "SLOWER than noise explains: tiny (first load)" in said
    code, said = await run(505.0)
    assert code == 0
    assert "nothing is slower" in said
    records = store.read(file).records
    assert [len(one.figures[0].rounds) for one in records] == [3, 3, 3]
    assert records[0].settings == {"rows": 3, "postgresql": GIVEN}
    assert records[0].machine.postgresql[:2].isdigit()


@pytest.mark.usefixtures("given_server")
async def test_what_can_not_be_measured_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("{\n")
    monkeypatch.setattr(track, "load", lambda: 1.5)
    chosen = {"broken": tiny(1.0, ends_badly=True), "missing": tiny(1.0, stored="no Kafka here"), "well": tiny(9.0)}
    assert await track.main(chosen, 1, file, against="", fail_on_slower=False) == 1
    said = capsys.readouterr()
    assert "broken was not measured: load ended with 1:\nno rows" in said.err
    assert "missing was not measured: no Kafka here" in said.err
    assert f"{file}:1 is passed over" in said.err
    assert "Not measured: broken, missing" in said.out
    assert "The machine was not quiet: 1.50" in said.out
    assert [one.benchmark for one in store.read(file).records] == ["well"]


async def test_a_history_that_can_not_be_kept_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await track.main({"tiny": tiny(1.0)}, 1, tmp_path, against="", fail_on_slower=False) == 2
    assert f"can't be kept in {tmp_path}: Is a directory; --file names another place" in capsys.readouterr().err


def test_each_module_has_a_short_form() -> None:
    from runtime import registry

    assert set(registry.available()) <= set(SHORT)


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--rounds", "many"], ["--only", "flights"]])
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        track.arguments().parse_args(words)
    assert refused.value.code == 2
    assert words[-1] in capsys.readouterr().err
