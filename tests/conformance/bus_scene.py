"""What the bus suite is played with. An implementation's test file supplies a `Backing` and runs every promise:

    @pytest.mark.parametrize("promise", PROMISES, ids=name_of)
    async def test_mine(promise: Promise) -> None:
        async with my_backing() as backing:
            await promise(backing)

A backing is one server (or what stands for one) and all that only a test does to it. It supplies:

- `bus()`: a new member, as another worker process would be: its own client, its own name in groups. Promises make
  several of them and say which consumers each one mounts. Fetch limits, the revocation wait and the session time of
  all of them are what the backing says below. Addresses and groups are fresh in each promise, except that job routes
  have the adapter's own group; so one server may serve all promises, one after another or side by side.
- `crash(bus)`: takes a member away without a goodbye. For a real server: cancel its tasks and close its sockets, leave
  no group and release no lease; its partitions are free when its session or its leases run out (`session_s`). It
  returns as soon as the member is gone; promises wait.
- `freeze(bus)`, `thaw(bus)`: its I/O stands still (a TCP proxy that stalls both ways, say) until it is thawed. Its
  session runs out meanwhile, as in a process that was stopped and continued.
- `publish_raw()`: publishes as a stranger does, with a client that knows nothing of ours.
- `make_anew(address)`: deletes the address, with what groups know of it, and makes it again with as many partitions.
- `forget(address)`: its retention is over: all that is there is deleted, and what comes afterwards is not.
- `let_pass(delay_s)`: so much of the buses' time goes by: an advance of a manual clock, or a real wait.
- `quiet()`: returns when whatever the buses had to do at once is surely done. In the loop: a few hundred turns. On a
  server: when each open bus has ended a few fetches that began after the call; where it can't be told, a fixed time of
  a few fetch waits. Promises use it only to see that something does *not* come; where a later message of the same
  partition can show that, they use one (`Scene.nothing_more`).

Positions are the bus's own: whole numbers that rise, with gaps, from anywhere. Promises assert order and identity of
messages and pass positions on, plus one at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import msgspec

from contracts.errors import LeaseLost, Unavailable
from contracts.message import Envelope
from contracts.ports.bus import Assignment, Bus
from contracts.ports.clock import Clock
from tests.conformance.bus_recorder import END, Order, Recorder, ignore, job, stream

__all__ = ["Backing", "Order", "Recorder", "Scene", "ignore", "job", "stream"]


class Backing(Protocol):
    """One place that several buses share, and what only a test does to it. An implementation brings its own."""

    @property
    def clock(self) -> Clock:
        """The one that the buses were made with."""
        ...

    @property
    def partitions(self) -> int:
        """What routes of the suite are declared with, 3 at least; what is published is spread over so many."""
        ...

    @property
    def extra_partitions(self) -> int:
        """How many are assigned beside those: 1 where the bare address is a partition of its own, else 0."""
        ...

    @property
    def fetch_rows(self) -> int:
        """The most deliveries that one `fetched` may carry; between 10 and 100."""
        ...

    @property
    def fetch_bytes(self) -> int:
        """The most bytes of bodies that one `fetched` may carry, unless a single message is larger; 64 KiB at least."""
        ...

    @property
    def big_bytes(self) -> int:
        """The largest payload that is promised to pass; 1,000,000 at least."""
        ...

    @property
    def revoke_wait_s(self) -> float:
        """How long the buses wait for `revoked`."""
        ...

    @property
    def session_s(self) -> float:
        """A member that nothing was heard of for so long has lost its partitions, for whatever reason that can happen
        (session, lease, poll interval: the longest of them). What is said to come at once comes sooner."""
        ...

    @property
    def patience_s(self) -> float:
        """After so long in real time, an ended session and some rebalances included, a promise counts as broken."""
        ...

    @property
    def publish_bound(self) -> int | None:
        """How many messages an address takes that nobody commits, or None when the bus has no such bound."""
        ...

    def bus(self) -> Bus:
        """A new member, not open."""
        ...

    async def crash(self, bus: Bus) -> None:
        """It dies without a word, as its process would. Nobody uses it afterwards."""
        ...

    async def freeze(self, bus: Bus) -> None:
        """Its I/O stands still until `thaw`."""
        ...

    async def thaw(self, bus: Bus) -> None: ...

    async def publish_raw(
        self, address: str, body: bytes, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish as a stranger does: with a native client, with no envelope of ours. Returns once it is confirmed."""
        ...

    async def make_anew(self, address: str) -> None:
        """Delete the address and make it again. No bus that mounts it is open."""
        ...

    @property
    def tells_what_was_deleted(self) -> bool:
        """Whether one can see that something was; an old server may not know."""
        ...

    async def forget(self, address: str) -> None:
        """Delete everything that is there now. No bus that mounts it is open."""
        ...

    async def let_pass(self, delay_s: float) -> None:
        """So much of the buses' time goes by."""
        ...

    async def quiet(self) -> None:
        """Returns when whatever the buses had to do at once is surely done."""
        ...


class Scene:
    """Buses, recorders and publishers of one promise; closes every bus at the end."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self.clock = backing.clock
        self.address = f"suite.{backing.clock.new_id()}"
        self.group = f"suite-{backing.clock.new_id()}"
        self._changed = asyncio.Event()
        self._buses: dict[Bus, tuple[Recorder, ...]] = {}
        self._frozen: list[Bus] = []
        self._recorders: list[Recorder] = []
        self._published = 0

    async def __aenter__(self) -> Scene:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(self.backing.patience_s):
                for bus in tuple(self._frozen):
                    await self.thaw(bus)
                for bus in self._buses:
                    await bus.close()
        except TimeoutError:
            if error is None:  # else that is what is to be told
                raise AssertionError(f"a bus does not close within {self.backing.patience_s:g} s") from None

    # Who takes part.

    def recorder(self, *, group: str = "", commits: bool = False) -> Recorder:
        return self._noted(
            Recorder(
                stream(self.address, self.backing.partitions, group=group or self.group),
                self._changed.set,
                commits=commits,
            )
        )

    def job_recorder(self) -> Recorder:
        return self._noted(Recorder(job(self.address), self._changed.set))

    def unopened(self, *recorders: Recorder) -> Bus:
        bus = self.backing.bus()
        self.adopt(bus, *recorders)
        return bus

    def adopt(self, bus: Bus, *recorders: Recorder) -> None:
        """Mount them on a bus that is not opened yet; it is closed with the scene."""
        for recorder in recorders:
            bus.mount(recorder, schema=msgspec.json.schema(Order))
        self._buses[bus] = recorders

    async def opened(self, *recorders: Recorder) -> Bus:
        """A bus with these routes, connected, not fetching."""
        bus = self.unopened(*recorders)
        await bus.open()
        return bus

    async def start(self, *recorders: Recorder) -> Bus:
        """A bus with these routes, fetching."""
        bus = await self.opened(*recorders)
        await bus.start()
        return bus

    async def crash(self, bus: Bus) -> None:
        for recorder in self._buses.pop(bus):
            recorder.crashed = True
        await self.backing.crash(bus)

    async def freeze(self, bus: Bus) -> None:
        self._frozen.append(bus)
        await self.backing.freeze(bus)

    async def thaw(self, bus: Bus) -> None:
        self._frozen.remove(bus)
        await self.backing.thaw(bus)

    # What is published.

    async def publish(self, bus: Bus, count: int = 1, *, keys: Sequence[str | None] = (None,)) -> list[Envelope]:
        """`count` orders with rising numbers, the keys in turn."""
        first, self._published = self._published, self._published + count
        envelopes = [
            self.envelope(msgspec.json.encode(Order(number=number)), key=keys[number % len(keys)])
            for number in range(first, first + count)
        ]
        await bus.publish(*envelopes)
        return envelopes

    def envelope(self, body: bytes, *, key: str | None = None, **fields: Any) -> Envelope:
        new_id = self.clock.new_id
        given = {"id": new_id(), "address": self.address, "body": body, "correlation_id": new_id(), **fields}
        return Envelope(key=key, **given)

    # What is waited for.

    async def until(self, condition: Callable[[], bool], *, within_s: float | None = None) -> None:
        """Returns once a recorder's note made it true; fails after the backing's patience, or `within_s`."""
        limit_s = self.backing.patience_s if within_s is None else within_s
        try:
            async with asyncio.timeout(limit_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it did not come within {limit_s:g} s; {self._recorders}") from None

    async def at_once(self, condition: Callable[[], bool]) -> None:
        """As `until`, and sooner than anybody is taken for dead."""
        await self.until(condition, within_s=self.backing.session_s)

    async def eventually(self, condition: Callable[[], bool]) -> None:
        """As `until`, for what gives no signal."""
        try:
            async with asyncio.timeout(self.backing.patience_s):
                while not condition():
                    await self.backing.quiet()
        except TimeoutError:
            raise AssertionError(f"it did not come within {self.backing.patience_s:g} s; {self._recorders}") from None

    @property
    def all_partitions(self) -> int:
        return self.backing.partitions + self.backing.extra_partitions

    async def all_held(self, *recorders: Recorder, within_s: float | None = None) -> None:
        """Returns once every partition is held by one of these."""
        await self.until(
            lambda: sum(len(recorder.held) for recorder in recorders) == self.all_partitions, within_s=within_s
        )

    async def shared(self, *recorders: Recorder) -> None:
        """Returns once every partition is held by one of these, and nobody has two more than another."""

        def even() -> bool:
            shares = [len(recorder.held) for recorder in recorders]
            return sum(shares) == self.all_partitions and max(shares) - min(shares) <= 1

        await self.until(even)

    async def nothing_more(self, bus: Bus, recorder: Recorder, *, keys: Sequence[str] = ("one",)) -> None:
        """Returns once all that was on its way in the partitions of `keys` has come: a last message of each did."""
        ends = [self.envelope(b"{}", key=key, headers={END: "1"}) for key in keys]
        await bus.publish(*ends)
        await self.until(lambda: {end.id for end in ends} <= recorder.ends)

    async def refused(self, assignment: Assignment, position: int) -> None:
        """Returns once a commit was refused because the assignment is over; fails when it is accepted."""
        async with asyncio.timeout(self.backing.patience_s):
            while True:
                try:
                    await assignment.commit(position)
                except LeaseLost:
                    return
                except Unavailable:  # the bus can't say yet: it is asked again
                    await self.backing.let_pass(0.1)
                else:
                    raise AssertionError(f"{assignment!r} is over, and its commit was accepted")

    def _noted(self, recorder: Recorder) -> Recorder:
        self._recorders.append(recorder)
        return recorder
