"""`--db cassandra` from the command line: who can't run with it is refused before anything is connected to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import own_modules, readings
from tests.kit.command_line import CommandLine, Ran

WHY = (
    "and Cassandra has no transactions: run this module with --db postgres, choose others by MODULES, or write the "
    "handler to Statements (docs/write-a-module.md)"
)


@pytest.fixture
def millrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    readings.write(tmp_path)
    with own_modules.instead(own_modules.write(tmp_path)):
        millrace = CommandLine(tmp_path, monkeypatch, {})
        millrace.set(MILLRACE_DB="cassandra", DB_CASSANDRA_HOSTS="127.0.0.1:1", DB_CASSANDRA_KEYSPACE="shop")
        yield millrace


def faults_of(ran: Ran) -> list[str]:
    assert (ran.code, ran.out) == (2, "")
    return [line.removeprefix("  - ") for line in ran.err.splitlines() if line.startswith("  - ")]


def test_modules_that_need_transactions_are_refused_with_the_reason(millrace: CommandLine) -> None:
    steps = f"steps asks for Db (run.steps, hook 1), {WHY}"
    assert faults_of(millrace("run", "steps", "3")) == [steps]
    assert faults_of(millrace("config", "check")) == [
        f"orders asks for Db (orders.raw of orders, hook 1), {WHY}",
        steps,
    ]
    assert not (millrace.directory / "home" / "postgres").exists(), "nothing was started for it"


def test_a_tool_that_needs_them_is_refused_alone(millrace: CommandLine) -> None:
    assert faults_of(millrace("echo", "database", "--text", "x")) == [f"steps asks for Db (tool echo database), {WHY}"]
    assert millrace("echo", "say", "--text", "x").code == 0


def test_a_module_that_asks_for_statements_only_may_run(millrace: CommandLine) -> None:
    millrace.set(MODULES="readings")
    assert millrace("config", "check").out == "the settings are fine\n"
    shown = millrace("modules", "show", "readings", "--output", "json").json()
    assert shown["needs"] == ["job", "statements"]
    [route] = shown["routes"]
    assert route["promise"].endswith("; what it does by Statements is outside of that, and happens again with a repeat")


def test_what_would_not_be_used_and_what_is_missing_is_told(millrace: CommandLine) -> None:
    millrace.set(
        DB_CASSANDRA_USER="shop",
        DB_CASSANDRA_TLS_CA_FILE="ca.pem",
        DB_CASSANDRA_CONSISTENCY="local_qourum",
        DB_CASSANDRA_HOSTS="localhost",
    )
    found = "\n".join(faults_of(millrace("config", "check")))
    assert "DB_CASSANDRA_USER is set without DB_CASSANDRA_PASSWORD: set both, or neither" in found
    assert "DB_CASSANDRA_TLS_CA_FILE is not used without TLS: set DB_CASSANDRA_TLS=true, or leave it out" in found
    assert "did you mean LOCAL_QUORUM?" in found
    assert "'localhost' is not HOST:PORT" in found


def test_its_password_shows_nowhere(millrace: CommandLine) -> None:
    millrace.set(MODULES="readings", DB_CASSANDRA_USER="shop", DB_CASSANDRA_PASSWORD="hunter2-hunter2")
    shown = millrace("config", "show")
    assert "DB_CASSANDRA_PASSWORD" in shown.out
    assert "hunter2" not in shown.out + shown.err
