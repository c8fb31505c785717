"""Help, completion and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from runtime.cli import application
from tests.kit.command_line import CommandLine


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def test_every_command_has_help_and_an_example_and_takes_the_options_of_all(millrace: CommandLine) -> None:
    paths = list(leaves(typer.main.get_command(application.build([]))))
    assert {
        ("run", "steps"), ("run", "orders"), ("run", "broken"), ("publish",), ("jobs", "list"), ("jobs", "show"),
        ("jobs", "wait"), ("jobs", "cancel"), ("jobs", "retry"), ("modules", "list"), ("modules", "show"),
        ("echo", "say"), ("migrate", "up"), ("migrate", "down"), ("migrate", "status"), ("migrate", "new"),
        ("config", "show"), ("config", "check"), ("doctor",), ("reset",),
    } <= set(paths)  # fmt: skip
    for path in paths:
        ran = millrace(*path, "--help")
        assert ran.code == 0, path
        text = " ".join(ran.out.split())
        assert f"millrace {' '.join(path)}" in text.partition("Example")[2], f"{path} has no example"
        assert "--output" in text, path
        assert "--auto-migrate" in text, path


def test_help_of_a_module_follows_from_its_contract(millrace: CommandLine) -> None:
    text = " ".join(millrace("run", "steps", "--help").out.split())
    assert "Adds one row for each step, exactly once." in text
    assert "millrace run steps --steps INTEGER" in text
    for said in (
        "--steps INTEGER How many. (required; from 0; to 1000000)",
        "--day DATE The day.",
        "--step-s FLOAT How long each takes.",
        "--mode TEXT What to do. (one of add, fail, reject; default: add)",
        "--tags TEXT Words. (can be repeated)",
        "--dry-run Add nothing.",
    ):
        assert said in text


def test_a_broken_module_is_told_and_breaks_nothing_else(millrace: CommandLine) -> None:
    ran = millrace("--help")
    assert ran.code == 0
    assert "module broken can't be imported: ModuleNotFoundError" in ran.err
    assert "Traceback" not in ran.err
    ran = millrace("run", "broken")
    assert (ran.code, ran.out) == (2, "")
    assert "there_is_no_such_thing" in ran.err
    listed = {line["name"]: line for line in millrace("modules", "list", "--output", "json").json()}
    assert set(listed) == {"broken", "orders", "steps"}
    assert "can't be imported" in listed["broken"]["fault"]
    assert listed["steps"]["routes"] == ["run.steps", "run.alone"]


def test_built_in_commands_import_no_module(millrace: CommandLine) -> None:
    ran = millrace("jobs", "list")
    assert "broken" not in ran.err


@pytest.mark.parametrize("argv", [(), ("jobs",), ("modules",), ("migrate",), ("config",), ("run",)])
def test_a_group_without_a_command_shows_its_help(millrace: CommandLine, argv: tuple[str, ...]) -> None:
    ran = millrace(*argv)
    assert ran.code == 0
    assert ran.out.count("Usage: millrace") == 1


def test_the_version_is_printed(millrace: CommandLine) -> None:
    ran = millrace("--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("millrace 0.")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("jbos",), "Did you mean 'jobs'?"),
        (("run", "stpes"), "Did you mean 'steps'?"),
        (("jobs", "lost"), "No such command 'lost'"),
        (("--nonsense",), "No such option: --nonsense"),
        (("run", "steps", "--steps"), "requires an argument"),
    ],
)
def test_what_is_no_command_is_said_with_where_to_look(millrace: CommandLine, argv: tuple[str, ...], said: str) -> None:
    ran = millrace(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "--help` says more" in ran.err
    assert said in millrace("--output", "json", *argv).errors()[-1]["error"]


# Completion.


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("millrace jo", ["jobs"]),
        ("millrace run ", ["orders", "steps", "broken"]),
        ("millrace run steps --mo", ["--mode"]),
        ("millrace run steps --mode ", ["add", "fail", "reject"]),
        ("millrace jobs list --state ", ["cancelled", "done", "failed", "queued", "running", "skipped"]),
        ("millrace modules show ", ["broken", "orders", "steps"]),
        ("millrace publish ", ["orders.raw", "run.alone", "run.steps"]),
        ("millrace --db ", ["postgres", "cassandra", "memory"]),
        ("millrace run steps --output ", ["text", "json"]),
        ("millrace echo ", ["say", "database"]),
    ],
)
def test_shells_are_told_what_can_stand_here(millrace: CommandLine, line: str, offered: list[str]) -> None:
    words = line.split(" ")
    millrace.set(_MILLRACE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    ran = millrace()
    assert ran.code == 0
    assert sorted(ran.out.split()) == sorted(offered)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Start-up time: a command line is read, and a job's command checked, without any of these."""
    script = (
        "import sys; from runtime.cli import application; import typer.main;"
        "typer.main.get_command(application.build(['run', 'batch_etl', '--dataset', 'x']));"
        "print([name for name in sys.argv[1].split() if name in sys.modules])"
    )
    heavy = "rich litestar uvicorn polars pyarrow faststream asyncpg pydantic prometheus_client structlog yaml"
    ran = subprocess.run([sys.executable, "-c", script, heavy], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
