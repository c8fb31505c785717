"""A suite from the shell: its verdicts, its exit code, and what can be asked about it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.command_line import CommandLine
from tests.runtime.conftest import Blocking

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

SUITE = """\
name: numbers
tables:
  - source: numbers
    checks:
      - {check: row_count, warn: when < 10}
      - {check: range, column: n, max: 2, fail: when > LIMIT}
"""


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocking_databases: Blocking) -> Iterator[CommandLine]:
    """`millrace` with the modules that ship, a catalog of its own and a table of the numbers 1 to 5."""
    (tmp_path / "catalog/quality").mkdir(parents=True)
    (tmp_path / "catalog/quality/numbers.yaml").write_text(SUITE.replace("LIMIT", "0"))
    with blocking_databases.fresh(migrated=True) as url:
        blocking_databases.execute(url, "create table numbers as select generate_series(1, 5) as n")
        yield CommandLine(tmp_path, monkeypatch, {"DB_POSTGRES_URL": url})


def test_a_suite_is_run_shown_and_run_again(numbers: CommandLine) -> None:
    ran = numbers("run", "data_quality", "--suite", "numbers")
    assert ran.code == 1
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "verdict fail" in lines
    assert "numbers row_count row_count warn 5.000 when < 10" in lines
    assert "numbers range_n range fail 3.000 5 when > 0" in lines
    assert "suite numbers: 1 of 2 checks failed:" in ran.err
    assert "- numbers: range_n: 3 of 5 (it fails when > 0)" in ran.err
    assert "Traceback" not in ran.err
    (numbers.directory / "catalog/quality/numbers.yaml").write_text(SUITE.replace("LIMIT", "60%"))
    row = numbers("run", "data_quality", "--suite", "numbers", "--output", "json")
    assert (row.code, row.json()["result"]["verdict"]) == (0, "warn")
    count, ranged = numbers("quality", "show", "numbers", "--last", "5", "--output", "json").json()
    assert (ranged["verdicts"], ranged["values"], ranged["verdict"]) == ("F.", [3, 3], "pass")
    assert (count["verdicts"], count["trend"]) == ("ww", "▁▁")
    shown = numbers("quality", "show", "numbers")
    assert shown.code == 0
    assert "▁▁" in shown.out
    (line,) = numbers("quality", "list", "--output", "json").json()
    assert (line["name"], line["verdict"], line["checks"]) == ("numbers", "warn", 2)
    (failure,) = numbers("quality", "failures", "numbers", "--output", "json").json()
    assert (failure["name"], failure["verdict"]) == ("row_count", "warn")


def test_what_is_wrong_with_a_suite_is_told_before_anything_is_run(numbers: CommandLine) -> None:
    ran = numbers("run", "data_quality", "--suite", "number")
    assert ran.code == 1
    assert "there is no suite 'number' in the catalog; did you mean numbers?" in ran.err
    (numbers.directory / "catalog/quality/numbers.yaml").write_text(SUITE.replace("when > LIMIT", "a lot"))
    ran = numbers("run", "data_quality", "--suite", "numbers")
    assert ran.code == 1
    assert "quality/numbers.yaml:6 tables[0].checks[1].fail: is 'a lot', expected a condition such as" in ran.err
    assert numbers("quality", "show", "numbers").code == 1
