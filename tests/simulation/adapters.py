"""The adapters of one simulated process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import settings
from runtime.wiring import Adapters
from tests.simulation.bus import SimBus
from tests.simulation.ledger import SimDb, SimLedger
from tests.simulation.plan import Plan
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

BREAKAGES = ("loop crashed", "broke outside its handler")
"""What is logged when code of ours failed, and never may be."""


def settings_of(plan: Plan) -> settings.Settings:
    """The settings of its processes."""
    return _settings(plan.lease_s, plan.drain_timeout_s)


@cache
def _settings(lease_s: float, drain_timeout_s: float) -> settings.Settings:
    chosen: dict[str, Any] = {
        "metrics": "noop",
        "worker_lease_s": lease_s,
        "drain_timeout_s": drain_timeout_s,
        "job_slots": 2,
        "loop_stall_s": 0.0,
    }
    return settings.load(overrides=chosen, environ={}, directory=Path("/nonexistent"))


class SimAdapters(Adapters):
    """The shared services at the ends of this process's lines."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(settings_of(world.plan))
        process.bus = SimBus(process)
        self.__dict__.update(
            clock=world.clock,
            log=SimLog(world, process),
            metrics=SilentMetrics(),
            bus=process.bus,
            ledger=SimLedger(world.ledger, process),
            db=SimDb(process),
        )

    async def open(self, name: str) -> None:
        """There is no database to migrate."""
        if name != "db":
            await super().open(name)

    def take_over_logging(self) -> Callable[[], None]:
        return lambda: None


class SilentMetrics:
    """Implements `Metrics`, at no cost."""

    def add(self, *_said: Any, **_labels: str) -> None: ...

    set = observe = add

    def exposition(self) -> bytes:
        return b""


class SimLog:
    """Implements `Log`: lines are events of the trace; those that tell of code that broke end the schedule."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def debug(self, message: str, /, **context: Any) -> None:
        return

    def info(self, message: str, /, **context: Any) -> None:
        return

    def warn(self, message: str, /, **context: Any) -> None:
        self._world.happened[message] += 1
        self._world.note(self._process.name, "warns", f"{message} {_shown(context)}")

    def error(self, message: str, /, **context: Any) -> None:
        self._world.note(self._process.name, "error", f"{message} {_shown(context)}")
        if any(breakage in message for breakage in BREAKAGES):
            self._world.violated(f"{self._process.name}: {message}: {_shown(context)}")

    def exception(self, message: str, /, **context: Any) -> None:
        import traceback

        trace = traceback.format_exc()
        self.error(f"{message} {_shown(context)}\n{trace}")

    def bind(self, **context: Any) -> SimLog:
        return self


def _shown(context: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in context.items() if name not in ("took_ms", "hold"))
