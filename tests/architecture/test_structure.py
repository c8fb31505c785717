"""What the import linter can't say about the shape of the project."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "adapters", "modules", "runtime", "migrations")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

NAMES_THAT_SAY_NOTHING = {"utils", "common", "helpers", "base", "manager", "core"}
LONG_FILE_LINES = 400

DIRECT = {
    "the runtime": PROJECT["project"]["dependencies"],
    "the build backend": PROJECT["build-system"]["requires"],
    **PROJECT["project"]["optional-dependencies"],
}


def files(root: Path = ROOT) -> Iterator[Path]:
    """Each file of the project: no hidden directory but those that belong to it, and nothing that runs leave."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = [
            name
            for name in subdirectories
            if (not name.startswith(".") or name in {".ci", ".env", ".github"})
            and name not in {"__pycache__", "results"}
        ]
        yield from (Path(directory, name) for name in names)


def sources() -> Iterator[Path]:
    return (path for path in files() if path.suffix == ".py")


def imported_packages(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports are banned by a lint rule"
            found.add(node.module.partition(".")[0])
    return found


def test_a_name_says_what_is_inside() -> None:
    paths = [path.relative_to(ROOT) for path in sources()]
    assert paths
    empty = sorted(str(path) for path in paths if NAMES_THAT_SAY_NOTHING & set(path.with_suffix("").parts))
    assert not empty, f"rename for what they hold: {empty}"


def test_contracts_need_nothing_but_the_standard_library_and_msgspec() -> None:
    allowed = {"contracts", "msgspec", *sys.stdlib_module_names}
    strangers = {
        str(path.relative_to(ROOT)): sorted(names)
        for path in files(ROOT / "contracts")
        if path.suffix == ".py" and (names := imported_packages(path.read_text()) - allowed)
    }
    assert not strangers


def test_no_file_names_a_package_index() -> None:
    # Where packages come from is a matter of each machine.
    index = re.compile(
        r"(?<!--no-emit-)\b(extra-)?index-url|(?<!--no-emit-)\bfind-links|\btrusted-host"
        r"|files\.pythonhosted|pypi\.org/simple|registry\.npmjs|\bGOPROXY\b",
        re.IGNORECASE,
    )
    named = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files()
        if path != Path(__file__) and (match := index.search(path.read_text(errors="replace")))
    ]
    assert not named


def test_the_lock_names_versions_and_hashes_only() -> None:
    assert "://" not in LOCK
    assert " @ " not in LOCK
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        assert "==" in entry, entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("part", DIRECT)
def test_what_is_asked_for_is_locked(part: str) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.MULTILINE))
    wrong = {}
    for requirement in map(Requirement, DIRECT[part]):
        version = locked.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong[str(requirement)] = version
    assert not wrong, f"requirements.lock disagrees with pyproject.toml, run `./task lock`: {wrong}"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".python-version", "it hides tools that pyenv has under another version"),
        ("uv.lock", "the versions are locked in requirements.lock"),
    ],
)
def test_a_file_that_must_not_be(name: str, why: str) -> None:
    assert not (ROOT / name).exists(), why


def test_each_target_says_what_one_gets() -> None:
    targets = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
    assert not [name for name, target in targets.items() if name != "default" and not target.get("desc")]


def test_the_oldest_python_is_said_alike_everywhere() -> None:
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"\nOLDEST={oldest}\n" in (ROOT / "task").read_text()
    assert f"--python-version {oldest} " in (ROOT / "Taskfile.yml").read_text()
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")


def test_each_package_is_held_to_the_import_rules() -> None:
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= {
        *PACKAGES,
        "tests",
        "benchmarks",
        "examples",
        "scaffold",
    }


def test_long_files_are_pointed_at(capsys: pytest.CaptureFixture[str]) -> None:
    """A file is the size of one idea. A long one is worth a look, and no failure."""
    for path in sources():
        lines = len(path.read_text().splitlines())
        if lines > LONG_FILE_LINES:
            with capsys.disabled():
                print(f"\nworth a look: {path.relative_to(ROOT)} has {lines} lines (over {LONG_FILE_LINES})", end="")
