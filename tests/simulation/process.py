"""One simulated process: a worker, the ends of its lines to the shared services, and whether it lives."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from contracts.errors import Unavailable
from runtime.turn import next_turn
from tests.simulation.loop import OWNER

if TYPE_CHECKING:
    from adapters.bus.memory.member import Member
    from runtime.supervisor import DrainReport
    from runtime.worker import Worker
    from tests.simulation.bus import SimBus
    from tests.simulation.world import World

T = TypeVar("T")
Fate = Literal["refused", "lost", "late", "crash", "crash after", "stall", "stall after"]
FATES: tuple[Fate, ...] = ("refused", "lost", "late", "crash", "crash after", "stall", "stall after")


class Process:
    """Everything that it does runs in `context`, by which the loop knows whose it is."""

    worker: Worker
    bus: SimBus

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, name)
        self.members: list[Member] = []
        self.dead = False
        self.out = 0
        """The bus has taken it for dead, and it was not told yet: for so many reasons."""
        self.cut_off_until = 0.0
        self.held_up_s = 0.0
        self.late_until = 0.0
        self.report: DrainReport | None = None
        self.life: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.dead or (self.life is not None and self.life.done())

    async def call(self, service: str, step: str, make: Callable[[], Awaitable[T]]) -> T:
        """One call over the network: it takes a while each way, and may fail before or after it was done."""
        world = self.world
        fate = world.fate_of_call(self)
        await self._travel(late=fate == "late")
        self._reach(service, step, refused=fate == "refused")
        if fate == "crash":
            await self.crash(f"before {step}")
        elif fate == "stall":
            await self.stall(f"before {step}")
        answer = await make()
        if fate == "crash after":
            await self.crash(f"after {step}")
        elif fate == "stall after":
            await self.stall(f"after {step}")
        await self._travel(late=False)
        self._reach(service, step, refused=fate == "lost")
        return answer

    async def crash(self, where: str) -> None:
        """Nothing of it ever runs again, from here on."""
        self.world.crash(self, where)
        await asyncio.get_running_loop().create_future()

    async def stall(self, where: str) -> None:
        self.world.stall(self, self.world.chance.uniform(0.05, 4.0), where)
        await next_turn()

    def _reach(self, service: str, step: str, *, refused: bool) -> None:
        if refused or (
            service == "the ledger" and self.world.loop.time() < max(self.cut_off_until, self.world.down_until)
        ):
            self.world.note(self.name, "unavailable", step)
            raise Unavailable(service, f"simulated, at {step}")

    async def _travel(self, *, late: bool) -> None:
        draw = self.world.chance.random()
        if late:
            late_s = 0.3 + 5.0 * draw
            self.late_until = max(self.late_until, self.world.loop.time() + late_s)
            await self.world.clock.sleep(late_s)
        elif draw < 0.5:
            await next_turn()
        elif draw < 0.9:
            await self.world.clock.sleep(0.02 * (draw - 0.5))
        else:
            await self.world.clock.sleep(draw - 0.9)


class Remote:
    """A part of a shared service as one process sees it: each coroutine method is a call."""

    def __init__(self, inner: Any, process: Process, service: str, name: str) -> None:
        self._inner = inner
        self._process = process
        self._service = service
        self._name = name

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method
        process, service, step = self._process, self._service, f"{self._name}.{name}"

        async def called(*args: Any, **kwargs: Any) -> Any:
            return await process.call(service, step, lambda: method(*args, **kwargs))

        self.__dict__[name] = called
        return called
