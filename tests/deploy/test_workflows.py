"""The workflows of those who host this on GitHub: they run what `.ci/run` runs, on the Pythons that are supported."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.architecture.doc_tables import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def jobs(path: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Any) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


@EACH
def test_what_others_wrote_is_pinned_and_may_do_little(path: Any) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@v?\d+(\.\d+)*", step["uses"]), step["uses"]
    assert all(job["timeout-minutes"] <= 90 for job in jobs(path).values())


def test_the_gate_is_the_same_everywhere() -> None:
    ran = " ".join(step.get("run", "") for step in steps(ROOT / ".github/workflows/ci.yml"))
    own = (ROOT / ".ci" / "run").read_text()
    for command in ("./task setup", "./task check", "./task test"):
        assert command in ran
        assert command in own


def test_the_oldest_python_is_among_those_that_are_tested() -> None:
    [found] = re.findall(r"^OLDEST=(.+)$", (ROOT / "task").read_text(), re.MULTILINE)
    matrix = jobs(ROOT / ".github/workflows/ci.yml")["test"]["strategy"]["matrix"]["python"]
    assert matrix[0] == found
    assert len(matrix) >= 3


def test_the_image_is_scanned_before_it_is_pushed() -> None:
    used = [step.get("uses", "").partition("@")[0] for step in steps(ROOT / ".github/workflows/image.yml")]
    built = [number for number, name in enumerate(used) if name == "docker/build-push-action"]
    assert built[0] < used.index("aquasecurity/trivy-action") < built[1]
