"""Faults at the named steps of ports: calls that are lost, repeated, reordered, late or fail, and processes that end.

    faults = Faults()
    lost = faults.at("publish", Drop(), nth=2)
    async with harness(module, bus=faults.around(MemoryBus(clock))) as running:
        ...
    assert lost.fired.is_set()

A step is the name of a port's method (`publish`), below a name where one is given (`queue.settle`); of a bus also
`assignment.commit` and `assignment.release`. Code of a test has steps of its own with `await faults.reach("halfway")`.
Methods that are not coroutines are no steps: they pass unchanged.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import msgspec

from contracts.message import Delivery
from contracts.module import Route
from contracts.ports import Clock
from contracts.ports.bus import Assignment, Consumer

T = TypeVar("T")
Make = Callable[[], Awaitable[Any]]


class Call:
    """One call on its way; to await it is to make it, as often as that is done."""

    def __init__(self, make: Make, held: list[Make]) -> None:
        self.make = make
        self._held = held

    def hold(self) -> None:
        """Make it after the next call of this step."""
        self._held.append(self.make)


class Fault(Protocol):
    """What becomes of a call; returns what its caller is answered."""

    async def __call__(self, call: Call) -> Any: ...


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """It is not made, and its caller doesn't know."""

    answer: Any = None

    async def __call__(self, call: Call) -> Any:
        return self.answer


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """It is made twice."""

    async def __call__(self, call: Call) -> Any:
        await call.make()
        return await call.make()


class Reorder(msgspec.Struct, frozen=True, kw_only=True):
    """It is made after the next one; its caller goes on at once. What it raises then is raised in the next one's."""

    answer: Any = None

    async def __call__(self, call: Call) -> Any:
        call.hold()
        return self.answer


class Delay(msgspec.Struct, frozen=True, kw_only=True):
    """It is made so much later."""

    delay_s: float
    clock: Clock

    async def __call__(self, call: Call) -> Any:
        await self.clock.sleep(self.delay_s)
        return await call.make()


class Fail(msgspec.Struct, frozen=True, kw_only=True):
    """It is not made and raises; with `after=True` it is made, and its caller is told otherwise."""

    error: Callable[[], BaseException]

    async def __call__(self, call: Call) -> Any:
        raise self.error()


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """The process sends itself a signal. After SIGKILL nothing is cleaned up and nothing is said."""

    signal: signal.Signals = signal.SIGKILL

    async def __call__(self, call: Call) -> Any:
        os.kill(os.getpid(), self.signal)
        return await call.make()


class Armed:
    """One fault at its step."""

    def __init__(self, step: str, fault: Fault, *, after: bool, if_any: bool, due: Callable[[int], bool]) -> None:
        self.step = step
        self.fault = fault
        self.after = after
        self.if_any = if_any
        self.calls = 0
        """How many calls were counted."""
        self.fired = asyncio.Event()
        self._due = due

    def falls_due(self) -> bool:
        """Counts a call; whether it is one that fails."""
        self.calls += 1
        due = self._due(self.calls)
        if due:
            self.fired.set()
        return due


class Faults:
    """The faults of one test; the same seed draws the same ones."""

    def __init__(self, *, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._armed: list[Armed] = []
        self._held: defaultdict[str, list[Make]] = defaultdict(list)

    def at(
        self,
        step: str,
        fault: Fault,
        *,
        nth: int = 1,
        times: int = 1,
        chance: float | None = None,
        after: bool = False,
        if_any: bool = False,
    ) -> Armed:
        """The `nth` call of the step from now on fails, and `times - 1` after it; with `chance`, each one with that
        probability instead. `after`: once it was made, so that only its answer is at the fault's mercy (and to make it
        again changes nothing). `if_any`: only those calls count whose answer is not empty."""
        if if_any and not after:
            raise ValueError("if_any=True looks at answers, which are there with after=True only")

        def due(call: int) -> bool:
            return nth <= call < nth + times if chance is None else self._random.random() < chance

        armed = Armed(step, fault, after=after, if_any=if_any, due=due)
        self._armed.append(armed)
        return armed

    def clear(self) -> None:
        """Nothing fails any more; what is held stays held until the next call of its step, or `let_go`."""
        self._armed.clear()

    def around(self, port: T, name: str = "", *, parts: Collection[str] = ()) -> T:
        """The port with these faults; `parts` are the ports within it that have them too (of a ledger: `queue`)."""
        return cast(T, Faulty(port, self, name, parts))

    async def reach(self, step: str) -> None:
        """A step of a test's own."""

        async def nothing() -> None:
            return None

        await self.run(step, nothing)

    async def run(self, step: str, make: Make) -> Any:
        """Make one call with what is armed for it."""
        overdue, self._held[step] = self._held[step], []
        armed = [one for one in self._armed if one.step == step]
        for one in armed:
            if not one.after and one.falls_due():
                make = partial(one.fault, Call(make, self._held[step]))
        answer = await make()
        for one in armed:
            if one.after and (answer or not one.if_any) and one.falls_due():
                answer = await one.fault(Call(_answered(answer), self._held[step]))
        for held in overdue:
            await held()
        return answer

    async def let_go(self) -> None:
        """Make the calls that `Reorder` still holds."""
        held, self._held = self._held, defaultdict(list)
        for makes in held.values():
            for make in makes:
                await make()


def _answered(answer: Any) -> Make:
    async def again() -> Any:
        return answer

    return again


class Faulty:
    """A port, or anything else, whose coroutine methods are steps."""

    def __init__(self, inner: Any, faults: Faults, name: str, parts: Collection[str] = ()) -> None:
        self._inner = inner
        self._faults = faults
        self._prefix = f"{name}." if name else ""
        self._parts = {part: Faulty(getattr(inner, part), faults, f"{self._prefix}{part}") for part in parts}

    def __getattr__(self, name: str) -> Any:
        if name in self._parts:
            return self._parts[name]
        attribute = getattr(self._inner, name)
        if name == "mount":
            return partial(self._mount, attribute)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def called(*args: Any, **kwargs: Any) -> Any:
            return await self._faults.run(f"{self._prefix}{name}", partial(attribute, *args, **kwargs))

        return called

    def __repr__(self) -> str:
        return f"{self._inner!r} with faults"

    def _mount(self, mount: Callable[..., None], consumer: Consumer, *, schema: Mapping[str, Any]) -> None:
        mount(FaultyConsumer(consumer, self._faults), schema=schema)


class FaultyConsumer:
    """A consumer whose assignments' methods are steps."""

    def __init__(self, inner: Consumer, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self._faulty: dict[int, Assignment] = {}

    @property
    def route(self) -> Route:
        return self._inner.route

    async def assigned(self, assignment: Assignment) -> None:
        self._faulty[id(assignment)] = self._faults.around(assignment, "assignment")
        await self._inner.assigned(self._faulty[id(assignment)])

    def fetched(self, assignment: Assignment, deliveries: Sequence[Delivery]) -> None:
        self._inner.fetched(self._faulty[id(assignment)], deliveries)

    async def revoked(self, assignment: Assignment) -> None:
        try:
            await self._inner.revoked(self._faulty[id(assignment)])
        finally:
            del self._faulty[id(assignment)]
