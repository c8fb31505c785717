"""Arguments and settings are read together: everything that is wrong with them is told at once, with exit code 2."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.command_line import CommandLine, Ran


def faults_of(ran: Ran) -> list[str]:
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    return [line.removeprefix("  - ") for line in ran.err.splitlines() if line.startswith("  - ")]


def test_every_fault_of_arguments_and_settings_is_told_at_once(millrace: CommandLine) -> None:
    millrace.set(HTTP_PORT="a lot", DRAIN_TIMEOUT_S="-1")
    ran = millrace(
        "run", "steps", "--stpes", "4", "--step-s", "x", "--mode", "z", "--day", "soon", "--db", "oracle", "--mq=kafka"
    )
    found = faults_of(ran)
    for expected in (
        "--stpes: no such option; did you mean --steps?",
        "--steps: missing; it is required (integer)",
        "--step-s: Expected `float`; got 'x'",
        "--mode: Invalid enum value 'z'; it can be add, fail, reject; got 'z'",
        "--day: Invalid RFC3339 encoded date; got 'soon'",
        "MILLRACE_DB (command line, --db) is 'oracle'",
        "HTTP_PORT (environment) is 'a lot'",
        "DRAIN_TIMEOUT_S (environment) is '-1'",
    ):
        assert any(fault.startswith(expected) for fault in found), expected


def test_they_are_json_where_that_is_asked_for(millrace: CommandLine) -> None:
    ran = millrace("run", "steps", "--mode", "z", "--output", "json")
    [error] = ran.errors()
    assert (ran.code, ran.out, error["error"]) == (2, "", "arguments and settings")
    assert len(error["faults"]) == 2


def test_an_output_that_there_is_not_is_told_with_the_rest(millrace: CommandLine) -> None:
    found = faults_of(millrace("jobs", "list", "--output", "xml", "--limit", "0"))
    assert found == ["--output: 'xml'; it can be text or json", "--limit: Expected `int` >= 1; got '0'"]


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (("jobs", "list", "--state", "lost"), "--state: Invalid enum value 'lost'"),
        (("jobs", "list", "--limit", "many"), "--limit: Expected `int`; got 'many'"),
        (("jobs", "show"), "ID: missing; it is required (string)"),
        (("jobs", "show", "one", "two"), "'two': an argument too much"),
        (("jobs", "show", "one", "--loud"), "--loud: no such option; --help lists those that there are"),
        (("jobs", "wait", "one", "--timeout-s", "-1"), "--timeout-s: Expected `float` >= 0.0; got '-1'"),
        (("migrate", "down", "none"), "N: Expected `int`; got 'none'"),
        (("migrate", "down", "0"), "N: Expected `int` >= 1; got '0'"),
        (("publish",), "ADDRESS: missing; it is required (string)"),
        (("run", "steps", "3", "--steps", "4"), "--steps: given twice, as '3' too"),
        (("run", "steps", "-x", "3"), "-x: no such option; --help lists those that there are"),
        (("run", "steps", "--bogus=1", "3"), "--bogus: no such option; --help lists those that there are"),
        (("echo", "say"), "--text: missing; it is required (string)"),
        (("echo", "say", "x", "--times", "0"), "--times: Expected `int` >= 1; got '0'"),
        (("run", "orders", "--steps", "1"), "--steps: no such option; --help lists those that there are"),
    ],
)
def test_each_is_told_under_the_name_that_it_was_given_by(
    millrace: CommandLine, argv: tuple[str, ...], fault: str
) -> None:
    assert fault in "\n".join(faults_of(millrace(*argv)))


def test_an_option_of_every_command_can_stand_before_it_and_the_later_one_counts(millrace: CommandLine) -> None:
    def env_of(*argv: str) -> str:
        rows = {row["key"]: row for row in millrace(*argv).json()}
        return f"{rows['MILLRACE_ENV']['value']} from {rows['MILLRACE_ENV']['source']}"

    assert env_of("--output", "json", "--env", "test", "config", "show") == "test from command line, --env"
    assert env_of("config", "show", "--env", "test", "--output=json") == "test from command line, --env"
    assert env_of("--env=test", "config", "show", "--env", "staging", "--output", "json").startswith("staging")
    [fault] = faults_of(millrace("--db", "oracle", "run", "steps", "3"))
    assert "'oracle'" in fault


def test_auto_migration_can_be_switched_off_on_either_side(millrace: CommandLine) -> None:
    for argv in (("--no-auto-migrate", "config", "show"), ("config", "show", "--no-auto-migrate")):
        rows = {row["key"]: row["value"] for row in millrace(*argv, "--output", "json").json()}
        assert rows["MILLRACE_AUTO_MIGRATE"] == "false"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=5))
def test_no_command_line_ends_in_a_traceback(millrace: CommandLine, words: list[str]) -> None:
    for group in (("jobs", "list"), ("echo", "say"), ("run", "steps", "--dry-run", "--steps", "x")):
        ran = millrace(*group, *words)
        assert ran.code in (0, 1, 2)
        assert "Traceback" not in ran.err + ran.out
        assert "fault of Millrace" not in ran.err
