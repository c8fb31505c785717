"""The rules: Prometheus takes them, each alert fires when it should and only then, and asks for what is there."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from runtime import registry, settings
from tests.architecture import doc_tables
from tests.deploy import exported, promql
from tests.kit.services import missing

PLACE = doc_tables.ROOT / "deploy" / "prometheus"
ALERTS = exported.rules(PLACE / "rules" / "alerts.yml")
EACH = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
COMMAND = re.compile(r"`(millrace [a-z]+(?: [a-z]+)?)")
SECONDS = {"s": 1, "m": 60, "h": 3600}


def promtool(*arguments: str) -> str:
    """What it said; the test fails with that when it objects."""
    if (tool := shutil.which("promtool")) is None:
        missing("promtool", reason="it is not installed", remedy="Debian, Ubuntu: apt install prometheus")
    done = subprocess.run([tool, *arguments], cwd=PLACE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def commands() -> set[str]:
    of_modules = {f"millrace {tool.name}" for module in registry.find().modules for tool in module.tools}
    return {f"millrace {' '.join(path)}" for path, _ in doc_tables.commands()} | of_modules


def rule_tests() -> list[dict[str, Any]]:
    return list(yaml.safe_load((PLACE / "tests" / "alerts.yml").read_text())["tests"])


@pytest.mark.integration
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert "is valid prometheus config file" in promtool("check", "config", "prometheus.yml")


@pytest.mark.integration
@pytest.mark.timeout(150)
def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/alerts.yml")


@EACH
def test_it_is_tried_where_it_fires_and_where_it_does_not(alert: dict[str, Any]) -> None:
    fires, rests = 0, 0
    for test in rule_tests():
        if not test["name"].startswith(alert["alert"]):
            continue
        for check in test["promql_expr_test"]:
            firing = [sample["labels"] for sample in check["exp_samples"]]
            hit = any(alert["alert"] in labels for labels in firing)
            fires, rests = fires + hit, rests + (not hit)
    assert fires, "no test has it fire"
    assert rests, "no test has it rest"


@EACH
def test_it_asks_for_what_is_there(alert: dict[str, Any]) -> None:
    labels = promql.labels_of(alert["expr"], exported.known())
    told = " ".join(alert["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels


@EACH
def test_it_says_what_to_do_first(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]
    assert set(COMMAND.findall(alert["annotations"]["description"])) <= commands()


def test_a_drain_is_not_stuck_before_its_time_is_over() -> None:
    [alert] = [one for one in ALERTS if one["alert"] == "MillraceDrainStuck"]
    timeouts = [settings.Settings.model_fields["drain_timeout_s"].default]
    for path in (doc_tables.ROOT / "deploy" / "k8s").rglob("settings.env"):
        timeouts += map(float, re.findall(r"^DRAIN_TIMEOUT_S=(\S+)$", path.read_text(), re.MULTILINE))
    assert int(alert["for"][:-1]) * SECONDS[alert["for"][-1]] > max(timeouts) + 10


def test_the_document_lists_every_alert() -> None:
    listed = re.findall(r"`(Millrace[A-Z]\w+)`", (doc_tables.ROOT / "docs" / "deploy.md").read_text())
    assert sorted(listed) == sorted(alert["alert"] for alert in ALERTS)
