"""Services in containers, where a Docker engine answers and has or can pull their image."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit.services.service import CannotStart, Running


@functools.cache
def engine_reason() -> str:
    """Why there is no engine; empty when one answers. Asked once a run, for all services."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return "no Docker engine answers"
    try:
        import docker  # type: ignore[import-untyped]

        with contextlib.closing(docker.from_env(timeout=5)) as client:
            client.ping()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with Docker, the native server is next
        return f"no Docker engine answers ({_short(error)})"
    return ""


def require_engine() -> None:
    """Raises `CannotStart` when no engine answers."""
    if reason := engine_reason():
        raise CannotStart(reason)


def from_container(name: str, image: str, make: Callable[[], Any], url: Callable[[Any], str], **more: Any) -> Running:
    """Started with testcontainers, whose reaper (a container too) clears up after a killed run."""
    require_engine()
    try:
        container = make()
        container.start()
    except Exception as error:  # as above
        raise CannotStart(f"Docker can't run {image} ({_short(error)})") from error
    return Running(name=name, url=url(container), how=f"container {image}", end=container.stop, **more)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
