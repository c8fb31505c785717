"""MinIO: an S3 server whose code is at hand, built from its Go module at the first time."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.kit.services.containers import from_container
from tests.kit.services.go_programs import go_program
from tests.kit.services.home import Home
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import Port
from tests.kit.services.service import Running, Service, native_running, start_or_end

NAME = "MinIO"
IMAGE = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
USER, PASSWORD = "millrace", "millrace-tests-only"
# One key of its own, so that it encrypts as S3 does with a KMS.
KMS_KEY = "millrace-key"
ENVIRON = {
    "MINIO_ROOT_USER": USER,
    "MINIO_ROOT_PASSWORD": PASSWORD,
    "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:bWlsbHJhY2UtdGVzdHMtb25seS0zMi1ieXRlcy1sb24=",
    "MINIO_BROWSER": "off",
    "MINIO_UPDATE": "off",
    "MINIO_CALLHOME_ENABLE": "off",
}


class Minio(Service):
    """`url` is `http://ACCESS_KEY:SECRET_KEY@HOST:PORT`."""

    def __init__(self) -> None:
        remedy = (
            "Set MILLRACE_TEST_MINIO_URL to http://ACCESS_KEY:SECRET_KEY@HOST:PORT of a server where buckets may be "
            "made, start Docker, or install Go."
        )
        super().__init__(NAME, ways=(_container, start_minio), remedy=remedy)


def start_minio() -> Running:
    """A native server. Raises `CannotStart`."""
    program = shutil.which("minio") or go_program("minio", MODULE, version=MODULE.rpartition("-")[2])
    home, port = Home("minio"), Port()
    command: list[str | Path] = [program, "server", home.data, "--address", port.address, "--quiet"]
    environ = {**os.environ, **ENVIRON, "HOME": str(home.path)}
    server = NativeServer(NAME, command, home=home, ports=[port], ready=lambda _: _answers(port), environ=environ)
    start_or_end(server)
    return native_running(NAME, _url(port.address), server)


def _url(address: str) -> str:
    return f"http://{USER}:{PASSWORD}@{address}"


def _answers(port: Port) -> bool:
    try:
        with urllib.request.urlopen(f"http://{port.address}/minio/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _container() -> Running:
    def make() -> Any:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import HttpWaitStrategy

        container = DockerContainer(IMAGE).with_command("server /data").with_exposed_ports(9000)
        for name, value in ENVIRON.items():
            container.with_env(name, value)
        return container.waiting_for(HttpWaitStrategy(9000, "/minio/health/ready"))

    def url(container: Any) -> str:
        return _url(f"{container.get_container_host_ip()}:{container.get_exposed_port(9000)}")

    return from_container(NAME, IMAGE, make, url)
