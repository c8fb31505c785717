"""A service that tests ask for, and the ways to get it: the first that works is taken, once a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from tests.kit.services.missing import missing
from tests.kit.services.native import DidNotStart, NativeServer


class CannotStart(Exception):
    """This way is not open here, and why; the next one is tried."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a proxy stands before Kafka, which tells those who come through it to come through it again."""

    behind: int
    """The port of Kafka that the proxy passes on to."""
    advertised: int
    """The port that the proxy must have."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A service that answers; `how` says where it came from."""

    name: str
    url: str
    """What a client is given; of Kafka it is the bootstrap servers."""
    how: str
    end: Callable[[], None]
    native: NativeServer | None = None
    """Where the server is a process of ours."""
    doors: tuple[Door, ...] = ()
    """Of Kafka."""

    @property
    def server(self) -> NativeServer:
        """To kill, pause and restart it. A test that asks for it is skipped (in CI: fails) when it is not ours."""
        if self.native is None:
            remedy = f"Unset {variable_of(self.name)} and stop Docker, so that the native server is used."
            missing(f"control of {self.name}", reason=f"{self.how} is not a process of this run", remedy=remedy)
        return self.native


def variable_of(name: str) -> str:
    return {"PostgreSQL": "MILLRACE_TEST_POSTGRES_URL", "Kafka": "MILLRACE_TEST_KAFKA"}.get(
        name, f"MILLRACE_TEST_{name.upper()}_URL"
    )


@contextmanager
def own(start: Callable[[], Running]) -> Iterator[Running]:
    """A server for one test alone, to be ended and started at will, as in `own(start_kafka)`. The test is skipped (in
    CI: fails) when there can be none."""
    try:
        running = start()
    except CannotStart as error:
        missing("a server of a test's own", reason=str(error), remedy="Install Redis, and Java with Maven.")
    try:
        yield running
    finally:
        running.end()


class Service:
    """Started once, by whoever asks first."""

    def __init__(self, name: str, *, ways: Sequence[Callable[[], Running]], remedy: str) -> None:
        self.name = name
        self.variable = variable_of(name)
        self._ways = ways
        self.remedy = remedy
        self._running: Running | None = None
        self.reasons: list[str] = []

    def start(self) -> Running | None:
        """None when there is no way; idempotent."""
        if self._running is None and not self.reasons:
            for way in (self._given, *self._ways):
                try:
                    self._running = way()
                    break
                except CannotStart as error:
                    self.reasons.append(str(error))
        return self._running

    def require(self) -> Running:
        """Ends the test that asks when there is no way."""
        if (running := self.start()) is None:
            missing(self.name, reason="; ".join(self.reasons), remedy=self.remedy)
        return running

    def stop(self) -> None:
        """Idempotent."""
        if self._running is not None:
            running, self._running = self._running, None
            running.end()

    def _given(self) -> Running:
        if not (url := os.environ.get(self.variable)):
            raise CannotStart(f"{self.variable} is not set")
        return Running(name=self.name, url=url, how=self.variable, end=lambda: None)


def start_or_end(server: NativeServer) -> None:
    """Raises `CannotStart`; nothing of the server is left then, nor when it is interrupted."""
    try:
        server.start()
    except DidNotStart as error:
        server.end()
        raise CannotStart(str(error)) from error
    except BaseException:
        server.end()
        raise


def native_running(name: str, url: str, server: NativeServer, **more: Any) -> Running:
    return Running(name=name, url=url, how=f"native, process {server.pid}", end=server.end, native=server, **more)
