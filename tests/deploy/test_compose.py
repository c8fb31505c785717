"""`compose.yaml`: the Compose specification allows it, it has no secret in it, and what it names is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runtime import settings
from runtime.settings_sources import NOT_SETTINGS
from runtime.supervisor import CUT_GRACE_S
from tests.architecture.doc_tables import ROOT
from tests.kit.services.go_programs import own_go_program
from tests.kit.services.missing import missing
from tests.kit.services.service import CannotStart

SCHEMA: dict[str, Any] = json.loads((ROOT / "tests/deploy/schemas/compose-spec.json").read_text())
SCRIPT = ROOT / "deploy" / "compose.sh"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")
CORE = {"postgres", "redis", "kafka", "migrate", "worker"}
FULL = CORE | {"minio", "vault", "prometheus", "grafana", "otel-collector", "jaeger"}
WITHOUT_HEALTH = {"otel-collector"}
"""Its image has nothing in it that could ask."""


def passwords() -> set[str]:
    """Variables that `deploy/compose.sh` gives a value to."""
    [names] = re.findall(r"^NAMES='([^']+)'$", SCRIPT.read_text(), re.MULTILINE)
    return set(names.split())


def interpolated(text: str) -> str:
    """As compose does it: defaults, and the passwords."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if kind == "-":
            return str(rest)
        assert name in passwords(), f"nobody gives {name} a value"
        assert kind == "?", f"{name} must be asked for with :?, so that it is not empty by accident"
        return "0123abcd"

    return VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return dict(yaml.safe_load(interpolated((ROOT / "compose.yaml").read_text())))


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(project["services"])


def test_the_specification_allows_it(project: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert not [f"{list(fault.path)}: {fault.message}" for fault in validator.iter_errors(project)]
    project = {**project, "services": {"worker": {"imagee": "millrace"}}}
    assert list(validator.iter_errors(project)), "a wrong key would be seen"


@pytest.mark.integration
@pytest.mark.timeout(1300)
@pytest.mark.parametrize(("profile", "promised"), [("core", CORE), ("full", FULL)])
def test_compose_itself_takes_it(profile: str, promised: set[str]) -> None:
    taken = composed(ROOT / "compose.yaml", profile)
    assert set(taken["services"]) == promised
    assert taken["services"]["worker"]["environment"]["HTTP_TOKEN"] == "0123abcd"
    assert set(taken["volumes"]) >= {"postgres", "redis", "kafka", "millrace"}


@pytest.mark.integration
@pytest.mark.timeout(1300)
def test_compose_itself_would_see_what_is_wrong(tmp_path: Path) -> None:
    text = (ROOT / "compose.yaml").read_text()
    for right, wrong, said in (
        ("      migrate:\n        condition", "      migrat:\n        condition", "migrat"),
        ("- redis:/data", "- reddis:/data", "reddis"),
        ("${HTTP_TOKEN:?run", "${TOKEN_OF_NOBODY:?run", "TOKEN_OF_NOBODY"),
        ("stop_grace_period: 45s", "stop_grace_period: soon", "stop_grace_period"),
    ):
        assert text.count(right) == 1
        (tmp_path / "compose.yaml").write_text(text.replace(right, wrong))
        with pytest.raises(AssertionError, match=said):
            composed(tmp_path / "compose.yaml", "core")


def composed(file: Path, profile: str) -> dict[str, Any]:
    """What `docker compose config` makes of a file; without the plugin, what a program of the plugin's own library
    does. A refusal raises `AssertionError`."""
    environ = {**os.environ, **dict.fromkeys(passwords(), "0123abcd")}
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode:
        command = [docker, "compose", "--file", str(file), "--profile", profile, "config", "--format", "json"]
    else:
        command = [str(_compose_config()), str(file), profile]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _compose_config() -> Path:
    try:
        return own_go_program(ROOT / "tests" / "deploy" / "compose_config")
    except CannotStart as error:
        remedy = "Install Docker's compose plugin, or Go."
        missing("the Compose specification's own parser", reason=str(error), remedy=remedy)


def test_profiles_have_what_they_promise(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, one in services.items() if "core" in one["profiles"]} == CORE
    assert {name for name, one in services.items() if "full" in one["profiles"]} == FULL == set(services)
    assert services["worker"]["deploy"]["replicas"] == 2


def test_every_image_is_pinned(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        image, _, tag = one["image"].rpartition(":")
        assert image, f"{name} has no tag"
        assert tag not in ("latest", "main"), name


def test_what_waits_waits_for_what_is_there_and_says_when(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        for other, how in one.get("depends_on", {}).items():
            assert set(one["profiles"]) <= set(services[other]["profiles"]), f"{name} starts without {other}"
            if how["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"] or "worker" in other, other
    without = {
        name
        for name, one in services.items()
        if "healthcheck" not in one and one["image"] != services["worker"]["image"]
    }
    assert without == WITHOUT_HEALTH, "our own image brings its health check"
    assert services["worker"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_nothing_is_open_to_others(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        for port in one.get("ports", ()):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), f"{name}: {port}"
    published = [port.split(":")[1] for one in services.values() for port in one.get("ports", ())]
    assert len(set(published)) == len(published)


def test_no_secret_is_in_it() -> None:
    text = (ROOT / "compose.yaml").read_text()
    secret = re.compile(r"^\s*[A-Z_]*(PASSWORD|TOKEN|TOKEN_ID|SECRET|URL)[A-Z_]*: (.+)$", re.MULTILINE)
    lines = [value for _, value in secret.findall(text)]
    assert lines
    assert not [value for value in lines if not re.search(r"\$\{[A-Z_]+:\?", value)]
    assert {name for name, kind, _ in VARIABLE.findall(text) if kind == "?"} == passwords()


@pytest.mark.parametrize("name", ["worker", "migrate"])
def test_our_own_containers_are_told_what_we_know(name: str, services: dict[str, dict[str, Any]]) -> None:
    one = services[name]
    environ = one["environment"]
    assert set(environ) <= {*settings.KEYS.values(), *NOT_SETTINGS}
    assert settings.load(overrides={}, environ=environ, directory=ROOT).mq == "kafka"
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]


def test_there_is_time_to_drain(services: dict[str, dict[str, Any]]) -> None:
    worker = services["worker"]
    grace_s = float(worker["stop_grace_period"].removesuffix("s"))
    assert grace_s > float(worker["environment"]["DRAIN_TIMEOUT_S"]) + 2 * CUT_GRACE_S


def test_what_is_mounted_is_there(project: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for one in services.values():
        for volume in one.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in project["volumes"], volume


def test_prometheus_grafana_and_the_collector_find_the_others(services: dict[str, dict[str, Any]]) -> None:
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [workers] = [job for job in prometheus["scrape_configs"] if job["job_name"] == "millrace"]
    [found] = workers["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert services["worker"]["expose"] == [str(found["port"])]
    provisioned = ROOT / "deploy/grafana/provisioning"
    sources = yaml.safe_load((provisioned / "datasources/prometheus.yaml").read_text())["datasources"]
    collector = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    addresses = [source["url"].removeprefix("http://") for source in sources]
    addresses.append(collector["exporters"]["otlp"]["endpoint"])
    assert {address.split(":")[0] for address in addresses} <= set(services)
    [provider] = yaml.safe_load((provisioned / "dashboards/millrace.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in services["grafana"]["volumes"]}
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])


# The script that has the passwords.


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of what the script needs, and a `docker` that only says what it was asked."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / ".env").mkdir()
    (tmp_path / "deploy" / "compose.sh").write_text(SCRIPT.read_text())
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    return tmp_path


def call(place: Path, *arguments: str) -> str:
    environ = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}"}
    script = str(place / "deploy" / "compose.sh")
    return subprocess.run(["sh", script, *arguments], env=environ, capture_output=True, text=True, check=True).stdout


def test_passwords_are_made_once_and_for_this_user_alone(elsewhere: Path) -> None:
    assert call(elsewhere, "--profile", "core", "up").split() == [
        *("compose", "--env-file", ".env/compose.secret.env", "--profile", "core", "up")
    ]
    kept = elsewhere / ".env" / "compose.secret.env"
    first = dict(line.split("=") for line in kept.read_text().split())
    assert first.keys() == passwords()
    assert len(set(first.values())) == len(first)
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in first.values())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_text("".join(f"{name}={value}\n" for name, value in list(first.items())[1:]))
    call(elsewhere, "ps")
    second = dict(line.split("=") for line in kept.read_text().split())
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {next(iter(first))}, "what is new is added, and what is there stays"


def test_the_passwords_are_not_committed() -> None:
    asked = subprocess.run(["git", "check-ignore", "-q", ".env/compose.secret.env"], cwd=ROOT, check=False)
    assert asked.returncode == 0
