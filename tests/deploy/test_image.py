"""The image of `Dockerfile`, built and run for real: what is in it, who it runs as, and that it works and drains with a
root that it can't write to."""

from __future__ import annotations

import json
import os
import re
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import exits
from tests.architecture.doc_tables import ROOT
from tests.kit import own_modules, services
from tests.kit.services import Docker
from tests.kit.services.ports import Port
from tests.kit.waiting import until

# The first build of a machine fetches a base image and every package.
pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(1800)]

IMAGE = "millrace:test"
BUILD_TIMEOUT_S = 900.0
LOAD = ("millrace", "run", "batch_etl", "trips", "--date", "2019-01-15", "--output", "json")
AS_IN_PRODUCTION = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--network", "host"),
)
ON_ITS_OWN = ("--env", "MILLRACE_ENV=local", "--volume", f"{ROOT}/examples/trips:/var/lib/millrace/files/trips:ro")
"""With the embedded PostgreSQL, and something to load."""


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    engine = services.Engine()
    try:
        yield Docker(engine.require().url)
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def image(docker: Docker) -> str:
    """Built of this checkout."""
    try:
        base = services.python_image(docker)
    except services.CannotStart as error:
        remedy = "Let the engine pull python:3.12-slim, or, as root on Debian or Ubuntu: apt install debootstrap."
        services.missing("a base image", reason=str(error), remedy=remedy)
    # Who stands between this machine and the package index, if anybody: the build has to know, too.
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    secret = ["--secret", f"id=ca-bundle,src={bundle}"] if bundle else []
    arguments = [
        "--build-arg",
        f"PYTHON_IMAGE={base}",
        "--build-arg",
        "REVISION=of-a-test",
        "--network",
        "host",
        *secret,
    ]
    docker("build", "--quiet", "--tag", IMAGE, *arguments, str(ROOT), timeout_s=BUILD_TIMEOUT_S)
    return IMAGE


@pytest.fixture
def port() -> Iterator[Port]:
    """Containers share this machine's network here."""
    port = Port()
    yield port
    port.release()


@contextmanager
def container(docker: Docker, *arguments: str) -> Iterator[str]:
    """A container in the background, by its id."""
    name = docker("run", "--detach", *arguments).split()[-1]
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def state(docker: Docker, name: str) -> dict[str, Any]:
    return dict(json.loads(docker("inspect", "--format", "{{json .State}}", name)))


async def healthy(docker: Docker, name: str) -> None:
    await until(
        lambda: state(docker, name)["Health"]["Status"] == "healthy", timeout_s=90, what=f"the health of {name}"
    )


def stopped(docker: Docker, name: str) -> tuple[int, dict[str, Any]]:
    """The exit code after `docker stop`, and the drain report."""
    docker("stop", "--time", "45", name, timeout_s=60)
    last = json.loads([line for line in docker.log(name).splitlines() if line.startswith("{")][-1])
    assert last["message"] == "drain report"
    assert last["context"]["reason"] == "SIGTERM", "it heard it, though it is not process 1"
    return int(state(docker, name)["ExitCode"]), last["context"]


@pytest.fixture
def with_steps(tmp_path: Path) -> tuple[str, ...]:
    """A module of the test's own, laid beside the others: jobs that last as long as they are told to."""
    own = own_modules.write(tmp_path) / "modules" / "steps"
    return ("--volume", f"{own}:/app/modules/steps:ro")


@pytest.mark.usefixtures("unwatched")
async def test_a_worker_works_and_drains(docker: Docker, image: str, port: Port, with_steps: tuple[str, ...]) -> None:
    """What can end in time ends; what can't is handed back, and goes on where it was once the container is started
    again."""
    own = ("--env", f"HTTP_PORT={port.number}", "--env", "HTTP_HOST=127.0.0.1", "--env", "DRAIN_TIMEOUT_S=3")
    settings = (*AS_IN_PRODUCTION, *ON_ITS_OWN, *with_steps, *own, "--health-interval", "1s")
    async with httpx.AsyncClient(base_url=f"http://{port.address}", timeout=10) as http:

        async def job_of(steps: int) -> str:
            answer = await http.post("/commands/run.steps", json={"steps": steps, "step_s": 0.2})
            return str(answer.json()["job_id"])

        async def begun(job: str) -> bool:
            return bool(((await http.get(f"/jobs/{job}")).json()["progress"] or {}).get("rows"))

        with container(docker, *settings, image) as worker:
            await healthy(docker, worker)
            assert (await http.get("/health/ready")).status_code == 200
            assert "platform_drain_phase 1.0" in (await http.get("/metrics")).text
            assert '"loaded": 1491' in docker("exec", worker, *LOAD)
            short, long = await job_of(8), await job_of(30)
            for job in (short, long):
                await until(lambda job=job: begun(job), what="a job on its way")  # type: ignore[misc]
            code, report = stopped(docker, worker)
            assert report["fates"] == {short: "finished", long: "checkpointed"}
            assert (code, report["clean"]) == (exits.CUT, False)

            docker("start", worker)
            await healthy(docker, worker)

            async def ended() -> bool:
                return bool((await http.get(f"/jobs/{long}")).json()["state"] == "done")

            await until(ended, timeout_s=30, what="the job that was handed back")
            code, report = stopped(docker, worker)
            assert (code, report["clean"], report["fates"]) == (exits.DONE, True, {})


@pytest.mark.parametrize(
    "command", [(), ("millrace", "run", "batch_etl", "trips", "--date", "2019-01-15")], ids=["a worker", "a job"]
)
def test_sigterm_is_heard_from_the_first_moment_on(docker: Docker, image: str, command: tuple[str, ...]) -> None:
    """While Python starts and imports: nothing has begun, and nothing goes on for minutes until it is killed."""
    with container(docker, *AS_IN_PRODUCTION, *ON_ITS_OWN, image, *command) as one:
        docker("kill", "--signal", "TERM", one)
        code = int(docker("wait", one, timeout_s=20).split()[-1])
        said = docker.log(one)
    assert code in (128 + signal.SIGTERM, exits.CUT)
    assert "started" not in said
    assert "Traceback" not in said


async def test_a_job_in_a_container_of_its_own_is_well_and_is_handed_back(
    docker: Docker, image: str, with_steps: tuple[str, ...]
) -> None:
    job = ("millrace", "run", "steps", "1000", "--step-s", "0.1")
    settings = (*ON_ITS_OWN, *with_steps, "--env", "DRAIN_TIMEOUT_S=1", "--health-interval", "1s")
    with container(docker, *AS_IN_PRODUCTION, *settings, image, *job) as one:
        await healthy(docker, one)
        code, report = stopped(docker, one)
        said = docker.log(one)
    assert code == exits.CUT
    assert list(report["fates"].values()) == ["checkpointed"]
    assert "goes on from its checkpoint" in said


def test_a_job_is_a_container_of_its_own(docker: Docker, image: str) -> None:
    assert '"loaded": 1491' in docker("run", "--rm", *AS_IN_PRODUCTION, *ON_ITS_OWN, image, *LOAD)


def test_production_migrates_only_when_told(docker: Docker, image: str, port: Port) -> None:
    """As it is without any setting: the start says what to do, and is none."""
    with container(docker, *AS_IN_PRODUCTION, "--env", f"HTTP_PORT={port.number}", image) as worker:
        assert int(docker("wait", worker).split()[-1]) == exits.WRONG
        said = docker.log(worker)
    assert "millrace migrate up" in said
    assert "Traceback" not in said


def test_it_says_what_it_is_and_runs_as_nobody_special(docker: Docker, image: str) -> None:
    config = json.loads(docker("inspect", "--format", "{{json .Config}}", image))
    assert config["User"] == "10001:10001", "a number, so that an orchestrator can see that it is not root"
    assert config["Cmd"] == ["faststream", "run", "runtime.app:app"]
    assert config["Entrypoint"] == ["dumb-init", "--"]
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "runtime.probe"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Labels"]["org.opencontainers.image.revision"] == "of-a-test"


def test_it_holds_what_is_locked_and_nothing_for_developers(docker: Docker, image: str) -> None:
    listed = "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    inside = docker("run", "--rm", "--network", "none", image, "python", "-c", listed).split()
    lock = {name.lower() for name in re.findall(r"^[\w.-]+==[^\s;]+", (ROOT / "requirements.lock").read_text(), re.M)}
    installed = {re.sub(r"[-_.]+(?=.*==)", "-", one) for one in inside}
    assert installed - {re.sub(r"[-_.]+(?=.*==)", "-", one) for one in lock} == {
        next(one for one in installed if one.startswith("millrace=="))
    }
    names = {one.partition("==")[0] for one in installed}
    assert {"faststream", "asyncpg", "polars"} <= names
    assert not names & {"pytest", "ruff", "mypy", "celery", "pip", "uv", "hatchling"}


def test_only_what_it_is_made_of_is_sent_to_the_engine(docker: Docker, image: str) -> None:
    """`.dockerignore` leaves out tests, secrets and what runs have left."""
    inside = docker("run", "--rm", "--network", "none", image, "ls", "-A", "/app").split()
    assert set(inside) == {
        *("README.md", "LICENSE", "pyproject.toml", "requirements.lock"),
        *("contracts", "adapters", "modules", "runtime", "migrations", "catalog"),
    }


def test_a_secret_file_would_not_be_sent() -> None:
    assert "**/*.secret.env" in (ROOT / ".dockerignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", "what is not named is left out"


def test_every_extra_that_is_for_running_is_in_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [given] = re.findall(r'^ARG EXTRAS="(.+)"$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(given.split()) == set(extras) - {"test", "check", "bench"}


def test_places_of_the_dockerfile_are_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copied
    assert not [name for line in copied for name in line.split() if not Path(ROOT, name).exists()]
