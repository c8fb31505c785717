"""Run schedules: each from its seed alone, so that it can be run again."""

from __future__ import annotations

import gc
import hashlib
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import cache
from typing import Any
from unittest import mock
from zlib import crc32

import msgspec

from adapters.bus.memory import mounted
from adapters.bus.memory.member import Member
from runtime import descriptor, injection
from runtime.gate import Gate
from runtime.streams.passage import Passage
from tests.simulation.handlers import STAGE
from tests.simulation.plan import Plan, draw
from tests.simulation.world import Event, World

COLLECT_EVERY = 20


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a schedule ended; `violation` is empty when it went well."""

    plan: Plan
    violation: str
    digest: str
    steps: int
    simulated_s: float
    happened: Counter[str]
    trace: list[Event]
    error: str = ""


def run(seed: int, change: Callable[[Plan], Plan] = lambda plan: plan) -> Ended:
    """One schedule; `change` makes another plan of that of its seed."""
    return play(change(draw(seed)))


def run_beside(seed: int) -> Ended:
    """The same in another process; the trace is there when it failed."""
    ended = run(seed)
    return ended if ended.violation else msgspec.structs.replace(ended, trace=[])


def play(plan: Plan) -> Ended:
    """The schedule of a plan."""
    with simulated():
        world = World(plan)
        try:
            world.loop.run(world.run())
        except RuntimeError as error:
            world.violated(str(error))
            world.error = world.error or error
        digest = hashlib.sha256()
        for event in world.trace:
            digest.update(repr(event).encode())
        digest.update(f"{world.loop.steps} {world.loop.time()} {world.chance.getrandbits(64)}".encode())
        ended = Ended(
            plan=plan,
            violation=world.violation,
            digest=digest.hexdigest(),
            steps=world.loop.steps,
            simulated_s=world.loop.time(),
            happened=world.happened,
            trace=world.trace,
            error="".join(traceback.format_exception(world.error)) if world.error else "",
        )
        world.over = True
        world.loop.dispose()
    return ended


_depth = 0
_since_collected = COLLECT_EVERY


@contextmanager
def simulated() -> Iterator[None]:
    """What has to be otherwise while schedules run: nothing of it is in the code that is tried, but for who runs what a
    group tells its members. Pure and slow preparations are made once; nothing is collected meanwhile, since that would
    run the clean-up of processes that are dead."""
    global _since_collected
    logs = [logging.getLogger(name) for name in ("millrace.bus", "asyncio")]
    levels = [log.level for log in logs]
    collecting = gc.isenabled()
    gc.disable()
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    unraisable = sys.unraisablehook
    try:
        with (
            mock.patch.object(mounted, "Member", OwnedMember),
            mock.patch.object(Passage, "__hash__", _hash_of_passage),
            mock.patch.object(mounted.MountedSubscriber, "__hash__", _hash_of_subscriber),
            mock.patch.object(mounted.MountedSubscriber, "_build_fastdepends_model", _no_model),
            mock.patch.object(Gate, "__hash__", _hash_of_gate),
            mock.patch.object(injection, "check", _checked),
            mock.patch.object(descriptor, "schema_of", _schema_of),
            mock.patch.object(descriptor, "summary", _no_summary),
            _no_mocks_of_faststream(),
        ):
            yield
        sys.unraisablehook = lambda _: None
        _since_collected += 1
        if _since_collected >= COLLECT_EVERY:
            _since_collected = 0
            gc.collect()
            gc.freeze()  # what is left is here to stay: imports and the like
    finally:
        sys.unraisablehook = unraisable
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
        if collecting:
            gc.enable()


class OwnedMember(Member):
    """Hears of what its group decided in its own process, whoever's step it was that led to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._process = copy_context()
        super().__init__(*args, **kwargs)
        STAGE.get().joins(self)

    def reconcile(self) -> None:
        self._process.copy().run(super().reconcile)


# Sets are walked in the order of hashes, which by default are addresses: never twice the same.


def _hash_of_subscriber(subscriber: mounted.MountedSubscriber) -> int:
    return crc32(subscriber.topic.encode())


def _hash_of_gate(gate: Gate) -> int:
    return crc32(gate.address.encode())


def _hash_of_passage(passage: Passage) -> int:
    return hash((passage.owned.assignment.partition.index, passage.deliveries[0].position))


_check, _schema = injection.check, descriptor.schema_of
_needs: dict[tuple[int, ...], Any] = {}


def _checked(modules: Any, provided: Any, lacking: Any) -> Any:
    key = tuple(map(id, modules))  # they are made once each, and kept
    if key not in _needs:
        _needs[key] = _check(modules, provided, lacking)
    return _needs[key]


_schema_of = cache(_schema)


def _no_model(_subscriber: mounted.MountedSubscriber) -> None:
    """FastStream makes one for its own way to a handler, which is never gone here: 2 ms each."""


def _no_summary(_worker: Any) -> dict[str, Any]:
    return {}


class _Nothing:
    """Stands for the mocks that FastStream makes for its own test client with each subscriber."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...


@contextmanager
def _no_mocks_of_faststream() -> Iterator[None]:
    with suppress(ImportError):
        from faststream._internal.testing import calls

        with mock.patch.object(calls, "MagicMock", _Nothing):
            yield
        return
    yield
