"""`./task` on machines that it has never seen: each Python, uv and Task here is a stub that notes how it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRAPPER = Path(__file__).parents[2] / "task"
TOOLS = ("sh", "cat", "cksum", "head", "dirname", "grep", "basename", "mkdir", "rm", "chmod", "cp")

# How a Python of some machine behaves: `answer` is what the wrapper's probe prints, `venv` is 1 without ensurepip.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "- "*) echo "{answer}" ;;
  "-c "*ensurepip*) exit {venv} ;;
  "-c "*) exec "{real}" "$@" ;;
  "-m venv") {making}
    echo "{name} -m venv" >>"$CALLS"; mkdir -p .venv/bin; cp "$STUBS/venv-python" .venv/bin/python ;;
esac
"""

# The Python in .venv: installing the lock brings uv and Task with it.
VENV_PYTHON = """#!/bin/sh
case "$1 $2 $3" in
  "- "*) echo "yes $0" ;;
  "-c "*) exit 0 ;;
  "-m pip --version") ;;
  "-m pip install") echo "pip install" >>"$CALLS"
    cp "$STUBS/installed-uv" .venv/bin/uv; cp "$STUBS/task" .venv/bin/task ;;
  "-m compileall "*) echo "compileall" >>"$CALLS" ;;
esac
"""

INSTALLED_UV = """#!/bin/sh
echo "install the project" >>"$CALLS"
"""

UV = """#!/bin/sh
case "$1 $2" in
  "venv "*) echo "uv venv" >>"$CALLS"; mkdir -p .venv/bin; cp "$STUBS/venv-python" .venv/bin/python ;;
  "pip sync") echo "uv pip sync" >>"$CALLS"; [ {works} = 1 ] || exit 1
    cp "$STUBS/installed-uv" .venv/bin/uv; cp "$STUBS/task" .venv/bin/task ;;
esac
"""

TASK = """#!/bin/sh
echo "in $PWD with $*"
echo "first on the path: ${PATH%%:*}"
"""


class Machine:
    """A checkout in a directory whose name has a space, and a PATH that holds only what the test puts there."""

    def __init__(self, home: Path) -> None:
        self.bin, self.stubs, self.root = home / "bin", home / "stubs", home / "a checkout"
        for directory in (self.bin, self.stubs, self.root):
            directory.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or pytest.skip(f"this machine has no {tool}"))
        shutil.copy(WRAPPER, self.root)
        (self.root / "requirements.lock").write_text("msgspec==0.22.0\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        self.calls_file = home / "calls"
        self.calls_file.touch()
        self.write(self.stubs / "venv-python", VENV_PYTHON)
        self.write(self.stubs / "installed-uv", INSTALLED_UV)
        self.write(self.stubs / "task", TASK)

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "CALLS": str(self.calls_file), "STUBS": str(self.stubs)}

    def write(self, path: Path, script: str) -> None:
        path.write_text(script)
        path.chmod(0o755)

    def has_python(self, name: str, *, answer: str | None = None, ensurepip: bool = True, making: str = "") -> None:
        script = PYTHON.format(
            name=name,
            answer=answer or f"yes {self.bin / name}",
            venv=0 if ensurepip else 1,
            real=sys.executable,
            making=making,
        )
        self.write(self.bin / name, script)

    def has_uv(self, *, works: bool = True) -> None:
        self.write(self.bin / "uv", UV.format(works=int(works)))

    def has_broken_shim(self, name: str) -> None:
        self.write(self.bin / name, f'#!/bin/sh\necho "pyenv: {name}: command not found" >&2\nexit 127\n')

    def start(self, *args: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "task", *args],
            cwd=cwd or self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, cwd: Path | None = None) -> tuple[int, str, str]:
        process = self.start(*args, cwd=cwd)
        out, err = process.communicate(timeout=15)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        """What was called since this was last asked."""
        calls = self.calls_file.read_text().splitlines()
        self.calls_file.write_text("")
        return calls


SET_UP_WITH_PIP = ["-m venv", "pip install", "compileall", "install the project", "compileall"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_that_runs_is_taken(machine: Machine) -> None:
    machine.has_broken_shim("python3.14")
    machine.has_python("python3.13", answer="no PyPy 3.13.1")
    machine.has_python("python3.12")
    machine.has_python("python3.11")
    code, _, err = machine.run("setup")
    assert code == 0, err
    assert f"with {machine.bin}/python3.12 and pip" in err
    assert machine.calls() == ["python3.12 -m venv", *SET_UP_WITH_PIP[1:]]


def test_without_a_python_the_message_says_what_was_found_and_what_to_do(machine: Machine) -> None:
    machine.has_broken_shim("python3.12")
    machine.has_python("python3", answer="no CPython 3.9.2")
    code, _, err = machine.run("check")
    assert code == 1
    assert "needs CPython >= 3.11 and < 3.15, and none was found; python3 is CPython 3.9.2." in err
    assert "apt install python3 python3-venv" in err
    assert not (machine.root / ".venv").exists()


def test_a_python_without_ensurepip_is_passed_over_for_one_that_has_it(machine: Machine) -> None:
    machine.has_python("python3.13", ensurepip=False)
    machine.has_python("python3.11")
    assert machine.run("setup")[0] == 0
    assert machine.calls()[0] == "python3.11 -m venv"


def test_where_no_python_has_ensurepip_the_message_names_the_package(machine: Machine) -> None:
    machine.has_python("python3.13", ensurepip=False)
    code, _, err = machine.run("setup")
    assert code == 1
    assert "apt install python3.13-venv" in err
    assert not (machine.root / ".venv").exists()


def test_uv_is_used_where_it_is(machine: Machine) -> None:
    machine.has_uv()
    machine.has_python("python3.11", ensurepip=False)
    assert machine.run("setup")[0] == 0
    assert machine.calls() == ["uv venv", "uv pip sync", "install the project", "compileall"]


def test_pip_is_tried_where_uv_fails(machine: Machine) -> None:
    machine.has_uv(works=False)
    machine.has_python("python3.11")
    code, _, err = machine.run("setup")
    assert code == 0
    assert "trying pip" in err
    assert machine.calls() == [
        "uv venv",
        "uv pip sync",
        "pip install",
        "compileall",
        "install the project",
        "compileall",
    ]


def test_task_gets_the_arguments_at_the_root_from_wherever_it_is_called(machine: Machine, tmp_path: Path) -> None:
    machine.has_python("python3")
    code, out, _ = machine.run("test", "--", "-k", "a b", cwd=tmp_path)
    assert code == 0
    assert out == f"in {machine.root} with test -- -k a b\nfirst on the path: {machine.root}/.venv/bin\n"


def test_a_second_run_finds_everything_made(machine: Machine) -> None:
    machine.has_python("python3")
    machine.run("setup")
    machine.calls()
    code, out, err = machine.run("setup")
    assert (code, out, err) == (0, "", "")
    assert machine.calls() == []


def test_another_lock_renews_the_venv_in_place(machine: Machine) -> None:
    machine.has_python("python3")
    machine.run("setup")
    machine.calls()
    (machine.root / "requirements.lock").write_text("something else\n")
    assert machine.run("setup")[0] == 0
    assert machine.calls() == SET_UP_WITH_PIP[1:]


def test_another_pyproject_installs_the_project_only(machine: Machine) -> None:
    machine.has_python("python3")
    machine.run("setup")
    machine.calls()
    (machine.root / "pyproject.toml").write_text("something else\n")
    assert machine.run("setup")[0] == 0
    assert machine.calls() == ["install the project", "compileall"]


def test_a_venv_that_was_made_by_hand_is_kept(machine: Machine) -> None:
    machine.has_python("python3")
    machine.run("setup")
    machine.calls()
    (machine.root / ".venv/.made-from").unlink()
    assert machine.run("setup")[0] == 0
    assert machine.calls() == SET_UP_WITH_PIP[1:]


def test_an_interrupted_set_up_starts_anew(machine: Machine) -> None:
    machine.has_python("python3", making='kill -9 "$PPID"; exit 1')
    assert machine.run("setup")[0] != 0
    leftover = machine.root / ".venv/leftover"
    leftover.touch()
    machine.has_python("python3")
    assert machine.run("setup")[0] == 0
    assert machine.calls() == ["python3 -m venv", *SET_UP_WITH_PIP[1:]]
    assert not leftover.exists()


def test_a_checkout_that_was_moved_starts_anew(machine: Machine) -> None:
    machine.has_python("python3")
    machine.run("setup")
    machine.calls()
    machine.root = machine.root.rename(machine.root.with_name("moved"))
    assert machine.run("setup")[0] == 0
    assert machine.calls() == ["python3 -m venv", *SET_UP_WITH_PIP[1:]]


def test_of_two_at_once_one_sets_up_and_the_other_waits(machine: Machine, tmp_path: Path) -> None:
    go_on, is_making = tmp_path / "go-on", tmp_path / "is-making"
    os.mkfifo(go_on)
    os.mkfifo(is_making)
    machine.has_python("python3", making=f'echo >"{is_making}"; cat "{go_on}"')
    first = machine.start("setup")
    is_making.read_text()
    second = machine.start("setup")
    assert second.stderr is not None
    assert "waiting for another set-up" in second.stderr.readline()
    go_on.write_text("")
    for process in (first, second):
        process.communicate(timeout=15)
        assert process.returncode == 0
    assert machine.calls() == ["python3 -m venv", *SET_UP_WITH_PIP[1:]]
