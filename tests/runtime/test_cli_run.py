"""`millrace run` and the tools of modules: a job in this process, followed to its end."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.kit.command_line import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def test_a_job_is_run_and_its_report_printed(with_database: CommandLine) -> None:
    ran = with_database("run", "steps", "3", "--tags", "a", "--tags", "b", "--name", "who")
    assert ran.code == 0, ran.err
    first, *rest = ran.out.splitlines()
    assert first.startswith("job ")
    assert first.endswith(" is done")
    text = [" ".join(line.split()) for line in rest]
    assert text == ["steps 3", "tags a, b", "parts", "a", "1", "2"]


def test_json_has_the_whole_job_and_nothing_else(with_database: CommandLine) -> None:
    row = with_database("run", "steps", "--steps=2", "--output", "json").json()
    assert (row["state"], row["attempt"]) == ("done", 1)
    assert row["result"] == {"steps": 2, "tags": [], "parts": [{"a": 1}, {"a": 2}]}
    assert row["progress"] == {"rows": 2, "total_rows": 2, "message": "step 1"}
    shown = with_database("jobs", "show", row["id"], "--output", "json").json()
    assert shown["command"]["steps"] == 2


@pytest.mark.parametrize(("mode", "said"), [("fail", "it was asked to fail"), ("reject", "one thing is wrong")])
def test_a_job_that_failed_says_why(with_database: CommandLine, mode: str, said: str) -> None:
    ran = with_database("run", "steps", "3", "--mode", mode)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert "Traceback" not in "".join(line for line in ran.err.splitlines() if not line.startswith("{"))
    ran = with_database("run", "steps", "3", "--mode", mode, "--output", "json")
    assert ran.code == 1
    assert ran.json()["state"] == "failed"


def test_logs_go_to_standard_error_as_json(with_database: CommandLine) -> None:
    ran = with_database("run", "steps", "3", "--output", "json")
    messages = [line["message"] for line in ran.errors()]
    assert "stepping" in messages
    assert messages[-1] == "drain report"


def test_the_level_of_the_log_is_kept(with_database: CommandLine) -> None:
    with_database.set(LOG_LEVEL="error")
    ran = with_database("run", "steps", "3")
    assert (ran.code, ran.err) == (0, "")


def test_a_database_that_is_not_there_is_said(millrace: CommandLine, shared_database_url: str) -> None:
    parts = urlsplit(shared_database_url)
    millrace.set(DB_POSTGRES_URL=urlunsplit(parts._replace(path="/not_this_one")))
    ran = millrace("run", "steps", "3")
    assert (ran.code, ran.out) == (1, "")
    assert 'database "not_this_one" does not exist' in ran.err
    assert parts.password
    assert parts.password not in ran.err


# Tools.


def test_a_tool_prints_what_it_returns(millrace: CommandLine) -> None:
    ran = millrace("echo", "say", "hello", "--times", "2")
    assert ran.code == 0, ran.err
    assert [line.split() for line in ran.out.splitlines()] == [["text", "length"], ["hello", "5"], ["hello", "5"]]
    assert millrace("echo", "say", "--text", "hi", "--output", "json").json() == [{"text": "hi", "length": 2}]


def test_a_document_is_printed_as_it_is(millrace: CommandLine) -> None:
    assert millrace("echo", "say", "[bold]a: 1[/bold]\n", "--as-document").out == "[bold]a: 1[/bold]\n"
    ran = millrace("echo", "say", "a: 1", "--as-document", "--output", "json")
    assert ran.json() == {"document": "a: 1"}


def test_a_tool_is_given_its_adapters(with_database: CommandLine) -> None:
    assert with_database("echo", "database", "hi", "--output", "json").json() == {"text": "hi", "length": 2}


def test_markup_in_values_is_text(with_database: CommandLine) -> None:
    ran = with_database("run", "steps", "1", "--tags", "[red]x[/red]")
    assert "[red]x[/red]" in ran.out
    assert "[red]" in millrace_show(with_database, ran.out)


def millrace_show(millrace: CommandLine, said: str) -> str:
    job_id = said.split()[1]
    return millrace("jobs", "show", job_id[:20]).out
