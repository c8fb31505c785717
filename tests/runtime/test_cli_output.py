"""What commands print: results for people or as JSON, and nothing that a reader who left could break."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from contracts.errors import BadInput, Faults
from contracts.job import Progress
from runtime.cli.output import Output, cell
from runtime.cli.progress import AboveTheBar, following, shown


class Line(msgspec.Struct):
    name: str
    size: int = 0
    ratio: float = 0.5
    tags: tuple[str, ...] = ()
    extra: dict[str, int] = {}
    missing: str | None = None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> Output:
    monkeypatch.delenv("COLUMNS", raising=False)
    return Output(as_json=False)


def test_rows_are_a_table_without_empty_columns(text: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text.rows([Line(name="a", size=12_000, tags=("x", "y")), Line(name="b")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "size", "ratio", "tags"], ["a", "12,000", "0.500", "x,", "y"], ["b", "0", "0.500"]]


def test_no_rows_are_a_word(text: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text.rows([], none="no such jobs")
    Output(as_json=True).rows([])
    assert capsys.readouterr().out == "no such jobs\n[]\n"


def test_a_table_in_a_file_is_cut_by_nobody(text: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text.rows([Line(name="x" * 150)])
    assert "x" * 150 in capsys.readouterr().out


def test_a_value_shows_its_fields_and_tables_within_it(text: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text.value({"name": "n", "none": None, "map": {"a": 1}, "rows": [{"k": 1}, {"k": 2}]}, title="[b]it[/b]")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["[b]it[/b]"], ["name", "n"], ["map", "a:", "1"], ["rows"], ["k"], ["1"], ["2"],
    ]  # fmt: skip


def test_json_is_one_value_in_the_order_of_its_declaration(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).value(Line(name="a"))
    out = capsys.readouterr().out
    assert list(msgspec.json.decode(out)) == ["name", "size", "ratio", "tags", "extra", "missing"]


def test_what_is_no_result_goes_to_standard_error(text: Output, capsys: pytest.CaptureFixture[str]) -> None:
    for output in (text, Output(as_json=True)):
        output.note("by the way [x]")
        output.error("it failed [y]")
        output.faults(Faults("settings", ["one [z]", "two"]))
        output.faults(BadInput("three"))
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[:7] == [
        "by the way [x]",
        "millrace: it failed [y]",
        "millrace: settings: nothing was done, because",
        "  - one [z]",
        "  - two",
        "millrace: arguments: nothing was done, because",
        "  - three",
    ]
    assert [msgspec.json.decode(line) for line in lines[7:]] == [
        {"note": "by the way [x]"},
        {"error": "it failed [y]"},
        {"error": "settings", "faults": ["one [z]", "two"]},
        {"error": "arguments", "faults": ["three"]},
    ]


@pytest.mark.parametrize(
    ("value", "looks"),
    [
        (None, ""), (True, "yes"), (1234567, "1,234,567"), (0.25, "0.250"), ("[x]", "[x]"),
        (["a", 1], "a, 1"), ((None, 497.0, 0.25), "-, 497, 0.25"), ({"a": 1000}, "a: 1,000"),
    ],
)  # fmt: skip
def test_values_look_as_people_write_them(value: object, looks: str) -> None:
    assert str(cell(value)) == looks


def test_instants_are_shown_in_the_readers_time_zone() -> None:
    at = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
    assert cell(at) == at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


@pytest.fixture
def closed_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output goes to a reader that has left."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield
        monkeypatch.undo()


@pytest.mark.usefixtures("closed_pipe")
def test_a_reader_that_left_is_no_error() -> None:
    for output in (Output(as_json=True), Output(as_json=False)):
        output.value(Line(name="a"))
        output.rows([Line(name="a")] * 1000)
        output.say("a", b=1)
        output.document("text")
        Output.flush()


# Progress.


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress(), (0, None, "", "")),
        (Progress(rows=50, total_rows=100), (50, 100, "50 of 100 rows", "5 rows/s")),
        (
            Progress(rows=5, bytes=1500, total_bytes=3_000_000),
            (1500, 3_000_000, "5 rows, 1.5 kB of 3.0 MB", "0 rows/s"),
        ),
        (Progress(rows=12_000, bytes=999), (999, None, "12,000 rows, 999 B", "1,200 rows/s")),
        (Progress(bytes=5 * 10**12, total_bytes=10**13), (5 * 10**12, 10**13, "5.0 TB of 10.0 TB", "")),
    ],
)
def test_the_bar_goes_by_bytes_where_their_total_is_known(progress: Progress, expected: tuple[object, ...]) -> None:
    looks = shown(progress, seconds=10.0)
    assert (looks["completed"], looks["total"], looks["size"], looks["rate"]) == expected


def test_log_lines_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    above = AboveTheBar.on_stderr()
    above.write("before\n")
    with following("run.x", above=above, as_json=False, otherwise=lambda _: None) as bar:
        bar(Progress(rows=1, total_rows=2, message="half [way]"))
        above.write("a line that is longer than what fits\n")
        above.flush()
    above.write("after\n")
    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    assert "before" in lines
    assert any(line.endswith("a line that is longer than what fits") for line in lines), "whole, on a line of its own"
    assert any("1 of 2 rows" in line and "half [way]" in line for line in lines)
    assert lines[-1].endswith("after")


def test_without_a_terminal_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    now = iter([0.0, 1.0, 6.0, 6.0, 7.0, 12.0, 12.0])
    monkeypatch.setattr("runtime.cli.progress.perf_counter", lambda: next(now))
    above = AboveTheBar(io.StringIO())
    with following("run.x", above=above, as_json=False, otherwise=lambda one: told.append(one.rows)) as bar:
        for rows in range(4):
            bar(Progress(rows=rows))
    assert told == [1, 3]


def test_a_bar_is_never_shown_beside_json(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with following("x", above=AboveTheBar.on_stderr(), as_json=True, otherwise=lambda _: None) as bar:
        bar(Progress(rows=1))
    assert terminal.getvalue() == ""
