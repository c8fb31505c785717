"""A Docker engine that builds images: one that answers, else our own, as root, from Debian's `docker.io`.

Our own keeps images and the steps of builds in the cache of this user, so that only the first build is long. It listens
on a socket that nobody else looks for: other services of the tests don't see it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.database.cluster.locks import Deadline, FileLock
from tests.kit.services.cache import cache_directory
from tests.kit.services.containers import require_engine
from tests.kit.services.home import Home
from tests.kit.services.native import NativeServer
from tests.kit.services.service import CannotStart, Running, Service, start_or_end

NAME = "Docker"
PYTHON_IMAGE = "python:3.12.12-slim-bookworm"
OWN_BASE = "millrace-test-python:bookworm"
"""Stands in for the slim image of Python where no registry can be reached: Debian's own Python."""
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
TURN_TIMEOUT_S = 600.0
PULL_TIMEOUT_S = 120.0
MAKE_TIMEOUT_S = 600.0


class Engine(Service):
    """`url` is for DOCKER_HOST."""

    def __init__(self) -> None:
        remedy = "Start Docker, or, as root on Debian or Ubuntu: apt install docker.io debootstrap."
        super().__init__(NAME, ways=(_answering, _own), remedy=remedy)


class Docker:
    """The client of an engine."""

    def __init__(self, url: str) -> None:
        self._environ = {**os.environ, "DOCKER_HOST": url, "DOCKER_BUILDKIT": "1"}
        self._program = _client(self._environ)

    def __call__(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Standard output of `docker ARGUMENTS`; a failure raises `AssertionError` with all that was said."""
        done = self._ran(arguments, stderr=subprocess.PIPE, timeout_s=timeout_s)
        told = f"docker {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}"
        assert done.returncode == 0, told
        return done.stdout

    def log(self, container: str) -> str:
        """What it has written, to standard output and error alike."""
        return self._ran(("logs", container), stderr=subprocess.STDOUT, timeout_s=60.0).stdout

    def _ran(self, arguments: Sequence[str], *, stderr: int, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *arguments],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def has(self, image: str) -> bool:
        return not subprocess.run(
            [self._program, "image", "inspect", image], env=self._environ, capture_output=True, check=False
        ).returncode

    def load(self, directory: Path, image: str) -> None:
        """Make an image of a root directory."""
        packed = subprocess.Popen(["tar", "-C", str(directory), "-c", "."], stdout=subprocess.PIPE)
        with packed:
            subprocess.run(
                [self._program, "import", "-", image],
                env=self._environ,
                stdin=packed.stdout,
                check=True,
                capture_output=True,
            )


def python_image(docker: Docker) -> str:
    """The image that ours is built on. Raises `CannotStart`."""
    for image in (PYTHON_IMAGE, OWN_BASE):
        if docker.has(image):
            return image
    try:
        docker("pull", "--quiet", PYTHON_IMAGE, timeout_s=PULL_TIMEOUT_S)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        if (tool := shutil.which("debootstrap")) is None or os.geteuid() != 0:
            raise CannotStart(
                f"{PYTHON_IMAGE} can't be pulled ({error}), and there is no debootstrap for root"
            ) from error
        _bootstrap(tool, docker)
        return OWN_BASE
    return PYTHON_IMAGE


def _bootstrap(tool: str, docker: Docker) -> None:
    root = cache_directory() / "python-image.new"
    shutil.rmtree(root, ignore_errors=True)
    try:
        made = subprocess.run(
            [tool, "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MAKE_TIMEOUT_S,
            check=False,
        )
        if made.returncode != 0:
            raise CannotStart(f"debootstrap ended with {made.returncode} ({made.stdout[-300:]})")
        docker.load(root, OWN_BASE)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _answering() -> Running:
    require_engine()
    url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    _client({**os.environ, "DOCKER_HOST": url})
    return Running(name=NAME, url=url, how="an engine that answers", end=lambda: None)


def _own() -> Running:
    if os.geteuid() != 0:
        raise CannotStart("an engine of our own needs root")
    if (program := shutil.which("dockerd")) is None:
        raise CannotStart("dockerd is not installed")
    _client(dict(os.environ))
    held = _turn()
    try:
        server, url = _started(program)
    except BaseException:
        held.release()
        raise
    return Running(name=NAME, url=url, how=f"native, process {server.pid}", end=_ended(server, held), native=server)


def _turn() -> FileLock:
    """One engine works on the images at a time, of whatever run."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    held = FileLock(cache / "docker.lock")
    try:
        held.wait(deadline=Deadline(TURN_TIMEOUT_S, waiting_for="another run that builds images"))
    except TimeoutError as error:
        raise CannotStart(str(error)) from error
    return held


def _started(program: str) -> tuple[NativeServer, str]:
    home = Home("docker")
    url = f"unix://{home.path}/docker.sock"
    command = [
        program,
        f"--host={url}",
        f"--data-root={cache_directory() / 'docker'}",
        f"--exec-root={_exec_root()}",
        f"--pidfile={home.path / 'docker.pid'}",
        # Containers have the network of this machine: nothing of its own is to be set up, and taken down again.
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
    ]
    server = NativeServer(NAME, command, home=home, ports=[], ready=lambda server: "API listen on" in server.log)
    start_or_end(server)
    return server, url


def _exec_root() -> Path:
    """Always the same: what a killed engine left mounted there can't be removed, and is used again."""
    return cache_directory() / "docker-running"


def _ended(server: NativeServer, held: FileLock) -> Callable[[], None]:
    def end() -> None:
        server.stop()  # in its own time: what it keeps is for the next run
        server.end()
        # It leaves this one mounted.
        subprocess.run(["umount", str(_exec_root() / "netns" / "default")], capture_output=True, check=False)
        held.release()

    return end


def _client(environ: dict[str, str]) -> str:
    """One that can have an image built with secrets: BuildKit is a plugin from version 23 on, and within before."""
    for place in dict.fromkeys(filter(None, (shutil.which("docker"), "/usr/bin/docker"))):
        with contextlib.suppress(OSError):
            buildx = subprocess.run([place, "buildx", "version"], env=environ, capture_output=True, check=False)
            version = subprocess.run([place, "--version"], env=environ, capture_output=True, text=True, check=False)
            if buildx.returncode == 0 or version.stdout.startswith(("Docker version 20.", "Docker version 19.")):
                return place
    raise CannotStart("there is no Docker client with BuildKit")
