"""What one route waits for: the dependencies that are taken to be down, and who may try whether they are back.

The route's intake subscribes; the pipeline asks `admit` before a handler runs and tells what came of it; who carries a
message that was held waits for `passable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from contracts import outcome
from contracts.errors import Unavailable
from contracts.redaction import without_secrets

if TYPE_CHECKING:
    from runtime.breakers import Breakers, Dependency

ONE_TRY = 1


class Subscriber(Protocol):
    """Intake of a route. What it does is idempotent, returns at once and does not raise."""

    def opened(self, name: str, why: str) -> None:
        """Take nothing more for the reason `breaker: NAME`."""
        ...

    def closed(self, name: str) -> None:
        """That reason is over: the dependency is back, or can only be tried with a message."""
        ...


class Gate:
    """Made by `Breakers.gate`. `down` are the dependencies that it waits for, by name: empty most of the time."""

    def __init__(self, breakers: Breakers, module: str, address: str, needs: Collection[str]) -> None:
        self.module = module
        self.address = address
        self.needs = frozenset(needs)
        """Names of adapters; what handlers call unavailable besides is learned."""
        self.down: dict[str, Dependency] = {}
        self._breakers = breakers
        self._subscribers: list[Subscriber] = []
        self._trying: dict[int, list[Dependency]] = {}
        self._queue: list[object] = []
        self._changed = asyncio.Event()

    def subscribe(self, subscriber: Subscriber) -> None:
        """It is told at once what is down already."""
        self._subscribers.append(subscriber)
        for dependency in self.down.values():
            if dependency.holds_intake:
                subscriber.opened(dependency.name, dependency.why)

    @property
    def reasons(self) -> list[str]:
        """Why intake is to pause now, as it is called on an assignment: what is newly assigned pauses for these."""
        return [f"breaker: {one.name}" for one in self.down.values() if one.holds_intake]

    def room(self) -> int | None:
        """How many may be started now: 0, one as a try, or None, any number."""
        if not self.down:
            return None
        return ONE_TRY if all(one.may_try for one in self.down.values()) else 0

    async def passable(self) -> None:
        """Returns when one may be started, perhaps as a try: `admit` decides. Who has waited longest is the next to
        try: a message that always fails must not keep the others from finding out that the dependency is back."""
        if not self.down:
            return
        place = object()
        self._queue.append(place)
        try:
            while (room := self.room()) == 0 or (room == ONE_TRY and self._queue[0] is not place):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._queue.remove(place)
            self._changed.set()

    # What the pipeline tells.

    def admit(self, work: object) -> outcome.Release | None:
        """None: it may run, and `ended` has to be told. Else it is held, without having used up anything."""
        if not self.down:
            return None
        for dependency in self.down.values():
            if not dependency.may_try:
                return outcome.Release(reason=f"breaker: {dependency.name}")
        self._trying[id(work)] = list(self.down.values())
        for dependency in self.down.values():
            dependency.tried_by = id(work)
        return None

    def failed(self, work: object, error: Unavailable) -> None:
        """A handler said that a dependency is down. Returns at once; what follows from it is told to subscribers."""
        self._breakers.suspect(self, error)
        for dependency in self._trying.pop(id(work), ()):
            self._breakers.tried(dependency, id(work), well=None if dependency.name != name_of(error) else False)

    def ended(self, work: object, became: outcome.Outcome) -> None:
        """An attempt is over: one that was a try tells whether the dependency is back."""
        if self._trying:
            well = None if isinstance(became, outcome.Release | outcome.Cancelled) else True
            for dependency in self._trying.pop(id(work), ()):
                self._breakers.tried(dependency, id(work), well=well)

    # What the breakers tell.

    def change(self, dependency: Dependency) -> None:
        """The state of something that this route needs is another one now."""
        if dependency.state == "closed":
            self.down.pop(dependency.name, None)
        else:
            self.down[dependency.name] = dependency
        for subscriber in self._subscribers:
            if dependency.holds_intake:
                subscriber.opened(dependency.name, dependency.why)
            else:
                subscriber.closed(dependency.name)
        self._changed.set()


def name_of(error: Unavailable) -> str:
    """What an error calls unavailable, as logs and metrics may show it."""
    return without_secrets(error.dependency)[:120]
