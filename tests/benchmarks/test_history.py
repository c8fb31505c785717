"""The history of measurements: what is kept, what is compared with what, and what a user is told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.history import __main__ as command
from benchmarks.history import store
from benchmarks.history.compared import Line, compared, is_slower, told
from benchmarks.history.machine import this_code
from benchmarks.history.page import page
from benchmarks.history.record import Code, Figure, Machine, Record
from benchmarks.history.trend import bars, places

MACHINE = Machine(cpu="A & B <3 GHz>", cores=2, memory_gb=8, kernel="6.1", python="3.12.1", postgresql="18.0")
CALM = (100.0, 101.0, 99.0, 100.5, 99.5)
BEGAN_AT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def code(name: str, *, dirty: bool = False) -> Code:
    return Code(commit=name * 40, dirty=dirty, state=name + ("+" if dirty else ""))


def record(
    rounds: tuple[float, ...] = CALM, of: str = "a", *, number: int = 0, unit: str = "rows/s", **changed: Any
) -> Record:
    return msgspec.structs.replace(
        Record(
            benchmark="load",
            at=BEGAN_AT + timedelta(hours=number),
            code=code(of),
            machine=MACHINE,
            load=0.1,
            settings={"rows": 1000},
            figures=(Figure(name="first", unit=unit, better="more", rounds=rounds),),
        ),
        **changed,
    )


def slow(by: float = 2.0) -> tuple[float, ...]:
    return tuple(value / by for value in CALM)


def one(now: Record, *history: Record, against: str = "") -> Line:
    [line] = compared(now, history, against=against)
    return line


def verdict(now: Record, *history: Record, against: str = "") -> str:
    change = one(now, *history, against=against).change
    return change.verdict if change else ""


# What is compared with what.


def test_a_slowdown_is_told_until_other_code_is_measured() -> None:
    before = record()
    first, again = record(slow(), "b", number=1), record(slow(), "b", number=2)
    assert verdict(first, before) == "slower"
    assert verdict(again, before, first) == "slower"
    assert verdict(record(slow(), "c", number=3), before, first, again) == "same"
    assert verdict(record(slow(), "c", number=3), before, first, again, against="a") == "slower"


def test_changes_that_are_not_committed_are_other_code() -> None:
    edited = record(slow(), code=code("a", dirty=True))
    assert verdict(edited, record()) == "slower"
    assert str(edited.code) == "aaaaaaaaaa+"
    assert verdict(record(), record(number=-1), edited, against="a") == "same"  # what was edited is not the commit


def test_a_first_run_is_compared_with_nothing_and_a_second_with_the_first() -> None:
    assert one(record()).why == "the first of its kind"
    assert verdict(record(number=1), record()) == "same"


def test_another_machine_is_not_compared_and_what_differs_is_told() -> None:
    elsewhere = record(machine=msgspec.structs.replace(MACHINE, cores=64, python="3.13.0"))
    line = one(record(slow(), "b"), elsewhere)
    assert line.change is None
    assert line.why == "not compared, the machine was another one: cores 64 → 2, python 3.13.0 → 3.12.1"
    assert verdict(record(slow(), "b"), record(), elsewhere) == "slower"  # what was here before counts


def test_what_was_measured_otherwise_is_not_compared() -> None:
    line = one(record(slow(), "b"), record(settings={"rows": 500}))
    assert line.why == "not compared, it was measured otherwise: rows=500 → rows=1000"
    assert one(record(unit="rows/ms"), record()).why == "the figure is new"
    assert one(record(), record(), against="f00").why == "nothing was measured of commit f00 on this machine"


def test_runs_of_the_same_code_make_the_noise() -> None:
    wild = [record(tuple(value * by for value in CALM), "a") for by in (1.0, 1.3, 0.8)]
    assert verdict(record(slow(1.3), "b"), *wild) == "same"
    assert verdict(record(slow(1.3), "b"), record(), record(), record()) == "slower"


def test_the_table_names_what_is_slower_and_what_it_was_compared_with() -> None:
    lines = [one(record(slow(), "b"), record()), one(record(), record(settings={"rows": 5}))]
    text = told(lines)
    assert is_slower(lines[0])
    assert not is_slower(lines[1])
    assert re.search(r"^load +first +rows/s +100 +50\.0 +-50\.0% +±\d+\.\d% +slower$", text, re.MULTILINE)
    assert text.endswith("Compared with aaaaaaaaaa: SLOWER than noise explains: load (first).")
    assert told([one(record())]).endswith("Nothing was compared.")
    assert told([one(record(), record())]).endswith("nothing is slower than noise explains.")


# What is kept.


def test_what_is_added_is_read_and_bad_lines_are_told_and_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "history.jsonl"
    assert store.read(file) == store.Kept((), ())
    first, second = record(), record(slow(), "b")
    store.add(file, first)
    with file.open("ab") as opened:
        opened.write(b'{"version": 2}\n\xff\xfe\n' + msgspec.json.encode(first)[:100])  # killed as it wrote
    store.add(file, second)
    kept = store.read(file)
    assert kept.records == (first, second)
    assert [fault.partition(" is passed over: ")[0] for fault in kept.faults] == [f"{file}:{n}" for n in (2, 3, 4)]


@pytest.mark.parametrize("rounds", [[], [0.0], [-1.0], ["fast"]])
def test_a_figure_without_a_ratio_is_refused(rounds: list[object]) -> None:
    line = msgspec.json.encode({"name": "n", "unit": "u", "better": "more", "rounds": rounds})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(line, type=Figure)


def test_no_finite_number_no_figure() -> None:
    with pytest.raises(ValueError, match="first: a round that is no finite number"):
        Figure(name="first", unit="s", better="less", rounds=(float("inf"),))


def test_the_code_is_known_for_what_it_is() -> None:
    assert this_code() == this_code()
    assert re.fullmatch(r"[0-9a-f]{10}\+?", str(this_code()))


# What is shown.


def test_the_page_is_one_file_that_can_be_read_and_marks_what_is_slower() -> None:
    runs = [record(), record(slow(), "b", number=1), record(slow(), "c", number=2)]
    text = page(places(runs))
    assert not re.search(r"""(src|href)=|https?://|<script|url\(""", text)
    assert "A &amp; B &lt;3 GHz&gt;" in text
    [svg] = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    circles = [circle.get("class") for circle in ET.fromstring(svg).iter("circle")]  # noqa: S314 - our own
    assert (circles.count("round"), circles.count("run"), circles.count("slower")) == (15, 2, 1)
    assert "Nothing was measured yet" in page([])


def test_the_command_shows_a_line_for_each_figure_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.jsonl"
    assert command.main(["--file", str(file)]) == 1
    assert "`./task bench` measures" in capsys.readouterr().err
    for each in (record(), record(slow(), "b")):
        store.add(file, each)
    assert command.main(["--file", str(file), "--only", "load"]) == 0
    assert re.search(r"^load +first +rows/s +2 +50\.0 +100 +50\.0 +slower +█▁$", capsys.readouterr().out, re.MULTILINE)
    assert (tmp_path / "history.html").read_text().startswith("<!doctype html>")
    assert command.main(["--file", str(file), "--only", "flights"]) == 1
    assert "has no benchmark flights; there are: load" in capsys.readouterr().err


def test_bars_go_from_the_least_to_the_most() -> None:
    assert bars([1.0, 8.0, 4.5]) == "▁█▅"
    assert bars([3.0, 3.0]) == "▅▅"
