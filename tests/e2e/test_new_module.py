"""A new module passes its own tests and every check at once, before anybody has touched it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaffold.made import KINDS, Refused, files_of
from tests.kit import checkouts

NAMES = {"job": "day_hours", "stream": "account_sums"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkouts.checkout(tmp_path_factory.mktemp("checkout"))


def python(checkout: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *argv],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_it_passes_its_tests_and_all_checks(checkout: Path) -> None:
    for kind, name in NAMES.items():
        made = python(checkout, "scaffold", name, "--kind", kind)
        assert made.returncode == 0, made.stderr
        again = python(checkout, "scaffold", name, "--kind", kind)
        assert again.returncode == 2
        assert f"modules/{name}/module.py" in again.stderr
    tests = [f"tests/modules/test_{name}.py" for name in NAMES.values()]
    ran = python(checkout, "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout
    code = [
        *tests,
        *(f"modules/{name}" for name in NAMES.values()),
        *(f"contracts/{name}.py" for name in NAMES.values()),
    ]
    for check in ("ruff format --check", "ruff check --no-cache", "mypy --no-incremental"):
        checked = python(checkout, *check.split(), *code)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["Count", "1st", "two words", "class", "a__b", "", "x" * 41, "../up"])
def test_a_name_that_can_not_be_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="can't be a module's name"):
        files_of(name, "job")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_template_is_left(kind: str) -> None:
    for place, text in files_of("count_lines", kind).items():
        assert not {"NAME", "DASHED"} & set(place.parts)
        assert "${" not in text
