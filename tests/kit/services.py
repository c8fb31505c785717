"""Real services for tests: an address from the environment, else a container, else native.

One of each per run, started before the first test that asks for it (so that a slow pull is not a slow test). What a
killed run left behind is cleared by the next one. A service that can't be had fails its tests in CI and skips them
elsewhere; the summary of the run ends with what was not tried and what would help.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from adapters.database.embedded import EmbeddedServer

POSTGRES_IMAGE = "postgres:18-alpine"


class Untried(msgspec.Struct, frozen=True, kw_only=True):
    """Something that tests asked for in vain."""

    what: str
    reason: str
    remedy: str


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A service that answers; `how` says where it came from."""

    url: str
    how: str
    end: Callable[[], None]


_untried: dict[str, Untried] = {}


def untried() -> list[Untried]:
    return list(_untried.values())


def missing(what: str, *, reason: str, remedy: str, needed_in_ci: bool = True) -> NoReturn:
    """End the test that asked for it, and remember it for the summary."""
    _untried[what] = Untried(what=what, reason=reason, remedy=remedy)
    if needed_in_ci and os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{what} is missing: {reason}. {remedy}", pytrace=False)
    pytest.skip(f"{what} is missing: {reason}. {remedy}")


def reference_data() -> Path:
    """The directory of files whose right answers are known; the tests that need it are skipped without it."""
    remedy = "Set MILLRACE_REFERENCE_DATA to the directory that holds them."
    if not (place := os.environ.get("MILLRACE_REFERENCE_DATA")):
        missing("reference data", reason="MILLRACE_REFERENCE_DATA is not set", remedy=remedy, needed_in_ci=False)
    if not Path(place).is_dir():
        missing("reference data", reason=f"{place} is no directory", remedy=remedy, needed_in_ci=False)
    return Path(place)


class Postgres:
    """Started once, by whoever asks first."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._reasons: list[str] = []

    def start(self) -> Running | None:
        """None when there is no way; idempotent."""
        if self._running is None and not self._reasons:
            for way in (_from_environment, _from_container, _native):
                self._running = way(self._reasons)
                if self._running is not None:
                    break
        return self._running

    def require(self) -> Running:
        if (running := self.start()) is None:
            missing(
                "PostgreSQL",
                reason="; ".join(self._reasons),
                remedy="Set MILLRACE_TEST_POSTGRES_URL to a server where databases may be made, or start Docker.",
            )
        return running

    def stop(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.end()


def _from_environment(reasons: list[str]) -> Running | None:
    if not (url := os.environ.get("MILLRACE_TEST_POSTGRES_URL")):
        reasons.append("MILLRACE_TEST_POSTGRES_URL is not set")
        return None
    return Running(url=url, how="MILLRACE_TEST_POSTGRES_URL", end=lambda: None)


def _from_container(reasons: list[str]) -> Running | None:
    """Its reaper (a container too) clears up after a killed run."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        reasons.append("no Docker engine answers")
        return None
    try:
        import docker  # type: ignore[import-untyped]
        from testcontainers.community.postgres import PostgresContainer

        with contextlib.closing(docker.from_env(timeout=5)) as client:
            client.ping()
        container: Any = PostgresContainer(POSTGRES_IMAGE, driver=None)
        container.start()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with Docker, the native server is next
        reasons.append(f"Docker can't run {POSTGRES_IMAGE} ({' '.join(str(error).split())[:200]})")
        return None
    return Running(url=container.get_connection_url(), how=f"container {POSTGRES_IMAGE}", end=container.stop)


def _native(reasons: list[str]) -> Running | None:
    server = EmbeddedServer(ephemeral=True, durable=False)
    try:
        asyncio.run(server.start())
    except Exception as error:  # noqa: BLE001 - the reason is told with the skip
        reasons.append(f"the embedded server does not start ({error})")
        return None
    return Running(url=server.url().reveal(), how=server.address, end=lambda: asyncio.run(server.leave()))
