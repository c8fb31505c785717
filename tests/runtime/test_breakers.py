"""Breakers of the process: who opens them, who waits, who tries, and what is shown of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.cache.memory import MemoryCache
from adapters.clock.manual import ManualClock
from adapters.log.structured import make_log
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts import outcome
from contracts.errors import Unavailable
from contracts.job import JobState
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Cache
from runtime.breakers import CHECK_TIMEOUT_S, MOST_DEPENDENCIES, Breakers
from runtime.gate import Gate
from runtime.policy.breaker import Limits
from runtime.readiness import Readiness
from runtime.tasks import Tasks
from tests.kit.harness import harness

pytestmark = pytest.mark.anyio

LIMITS = Limits(failures=3, window_s=30, first_s=1, factor=2, max_s=8, calm_s=60)


class Server:
    """An adapter that is up or down as a test says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.up = True
        self.silent = False
        self.asked = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if not self.up:
            raise Unavailable(self.address, "connection refused")


class Heard:
    """A route's intake."""

    def __init__(self, gate: Gate) -> None:
        self.told: list[str] = []
        gate.subscribe(self)

    def opened(self, name: str, why: str) -> None:
        self.told.append(f"opened {name}: {why}")

    def closed(self, name: str) -> None:
        self.told.append(f"closed {name}")


class World:
    """Breakers over two adapters, on a clock that a test turns."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.text = io.StringIO()
        self.metrics = MemoryMetrics()
        self.db, self.cache = Server("pg:5432/app"), Server("redis:6379")
        opened = {"db": self.db, "cache": self.cache}
        log = make_log(clock=clock, stream=self.text, format="json")
        self.breakers = Breakers(lambda: opened, clock, log, self.metrics, limits=LIMITS)
        self.orders = self.breakers.gate("shop", "orders.raw", {"db"})
        self.clicks = self.breakers.gate("shop", "clicks.raw", {"cache"})
        self.heard, self.others = Heard(self.orders), Heard(self.clicks)
        self.tasks = Tasks()

    async def fail(self, gate: Gate, dependency: str, *, times: int = 1, work: object = None) -> None:
        for _ in range(times):
            gate.failed(work, Unavailable(dependency, "no answer"))
        await self.clock.advance(0)

    def lines(self) -> list[str]:
        return [msgspec.json.decode(line)["message"] for line in self.text.getvalue().splitlines()]

    def is_open(self, dependency: str) -> bool:
        return self.metrics.value(metric.BREAKER_OPEN, dependency=dependency) == 1


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    made = World(clock)
    made.tasks.start(made.breakers.run(), name="breakers")
    await clock.advance(0)
    yield made
    await made.tasks.stop()


# An adapter: its own check confirms, and probes.


async def test_an_adapter_that_a_check_finds_down_opens_at_once_for_the_routes_that_need_it(world: World) -> None:
    world.db.up = False
    await world.fail(world.orders, "pg:5432/app")
    assert world.heard.told == ["opened db: pg:5432/app is not available: connection refused"]
    assert world.others.told == []
    assert (world.orders.room(), world.orders.reasons) == (0, ["breaker: db"])
    assert (world.clicks.room(), world.clicks.reasons) == (None, [])
    assert world.orders.admit(object()) == outcome.Release(reason="breaker: db")
    assert world.clicks.admit(object()) is None
    assert world.is_open("db")


@pytest.mark.parametrize("said", ["db", "the db", "pg:5432/app", "some driver's own name for it"])
async def test_whatever_an_error_calls_it_the_adapters_that_the_route_needs_are_asked(world: World, said: str) -> None:
    world.db.up = False
    await world.fail(world.orders, said)
    assert list(world.breakers.states()) == ["db"]
    assert world.cache.asked == 0, "the route does not need it"


async def test_it_is_probed_later_each_time_and_closes_when_it_answers(world: World, clock: ManualClock) -> None:
    world.db.up = False
    await world.fail(world.orders, "db")
    await clock.advance(60.0)
    probes = world.db.asked - 1
    assert 7 <= probes <= 17, "waits of at most 1, 2, 4 and then 8 s, and at least half of that"
    assert world.breakers.states()["db"].for_s == 60.0
    world.db.up = True
    await clock.advance(8.0)
    assert world.heard.told[-1] == "closed db"
    assert (world.orders.room(), world.orders.down) == (None, {})
    assert not world.is_open("db")
    assert world.lines() == [
        "breaker opened: routes wait for a dependency",
        "breaker closed: a dependency is back",
    ], "one line at each change"
    asked = world.db.asked
    await clock.advance(600.0)
    assert world.db.asked == asked, "what is well is not asked"


async def test_an_adapter_that_does_not_answer_in_time_is_down(world: World, clock: ManualClock) -> None:
    world.db.silent = True
    await world.fail(world.orders, "db")
    assert world.heard.told == []
    await clock.advance(CHECK_TIMEOUT_S)
    assert world.heard.told == [f"opened db: no answer within {CHECK_TIMEOUT_S:g} s"]


async def test_while_it_is_asked_failures_do_not_ask_again(world: World, clock: ManualClock) -> None:
    world.db.silent = True
    for _ in range(50):
        await world.fail(world.orders, "db")
    assert world.db.asked == 1
    await clock.advance(CHECK_TIMEOUT_S)
    assert len(world.heard.told) == 1


async def test_failures_that_no_check_confirms_open_it_only_when_they_go_on(world: World, clock: ManualClock) -> None:
    await world.fail(world.orders, "db")
    await world.fail(world.orders, "db")
    assert world.heard.told == []
    await clock.advance(LIMITS.window_s + 1)
    await world.fail(world.orders, "db")
    assert world.heard.told == [], "the first two were long ago"
    await world.fail(world.orders, "db", times=2)
    assert world.heard.told == ["opened db: db is not available: no answer"]
    await clock.advance(1.0)
    assert world.heard.told[1:] == ["closed db"], "the check is what probes it"


async def test_what_began_before_it_opened_says_nothing_new(world: World, clock: ManualClock) -> None:
    world.db.up = False
    await world.fail(world.orders, "db", times=20)
    asked = world.db.asked
    await world.fail(world.orders, "db", times=20)
    assert world.db.asked == asked
    assert len(world.heard.told) == 1


# A dependency that only handlers know: one message probes it.


async def test_a_dependency_that_handlers_name_opens_for_those_that_named_it(world: World) -> None:
    await world.fail(world.orders, "crm api", times=2)
    assert world.heard.told == []
    await world.fail(world.orders, "crm api")
    assert world.heard.told == ["opened crm api: crm api is not available: no answer"]
    assert world.clicks.room() is None
    await world.fail(world.clicks, "crm api")
    assert world.others.told == ["opened crm api: crm api is not available: no answer"], "now it is known to need it"


async def half_open(world: World) -> None:
    await world.fail(world.orders, "crm api", times=3)
    await world.clock.advance(1.0)


async def test_one_message_is_let_through_to_see(world: World) -> None:
    await half_open(world)
    assert world.heard.told[1:] == ["closed crm api"], "its intake goes on, else there might be nothing to try with"
    assert (world.orders.room(), world.orders.reasons) == (1, [])
    first, second = object(), object()
    assert world.orders.admit(first) is None
    assert world.orders.room() == 0
    assert world.orders.admit(second) == outcome.Release(reason="breaker: crm api")
    world.orders.ended(first, outcome.Done())
    assert world.orders.room() is None
    assert world.orders.admit(second) is None
    assert not world.is_open("crm api")


async def test_a_message_that_fails_for_something_else_tells_that_it_is_back(world: World) -> None:
    await half_open(world)
    work = object()
    assert world.orders.admit(work) is None
    world.orders.ended(work, outcome.Dead(reason="permanent"))
    assert world.orders.room() is None


async def test_a_message_that_finds_it_down_keeps_it_open_for_longer(world: World, clock: ManualClock) -> None:
    await half_open(world)
    work = object()
    assert world.orders.admit(work) is None
    await world.fail(world.orders, "crm api", work=work)
    world.orders.ended(work, outcome.Release(reason="crm api is not available"))
    assert (world.orders.room(), world.orders.reasons) == (0, ["breaker: crm api"])
    await clock.advance(0.99)
    assert world.orders.room() == 0, "the wait has doubled, and is at least half of that"
    await clock.advance(1.01)
    assert world.orders.room() == 1


async def test_a_try_that_tells_nothing_is_made_again_at_once(world: World, clock: ManualClock) -> None:
    await half_open(world)
    for became in (outcome.Release(reason="drain"), outcome.Cancelled()):
        work = object()
        assert world.orders.admit(work) is None
        world.orders.ended(work, became)
        await clock.advance(0)
        assert world.orders.room() == 1
    work = object()
    assert world.orders.admit(work) is None
    world.db.up = False
    await world.fail(world.orders, "db", work=work)
    assert list(world.orders.down) == ["crm api", "db"], "it failed for another one"
    assert world.breakers.states()["crm api"].state == "half-open"


async def test_those_that_were_held_are_tried_in_turn(world: World, clock: ManualClock) -> None:
    """One message that always says so must not keep the others from finding out that it is back."""
    await world.fail(world.orders, "crm api", times=3)
    tried: list[str] = []

    async def carry(name: str, *, well: bool) -> None:
        for _ in range(10):
            await world.orders.passable()
            if world.orders.admit(name) is None:
                tried.append(name)
                if well:
                    world.orders.ended(name, outcome.Done())
                    return
                world.orders.failed(name, Unavailable("crm api", "not for me"))

    world.tasks.start(carry("odd", well=False), name="odd")
    await clock.advance(0)
    world.tasks.start(carry("good", well=True), name="good")
    await clock.advance(1.0)
    assert tried == ["odd"]
    await clock.advance(2.0)
    assert tried[:2] == ["odd", "good"]


async def test_names_that_handlers_invent_are_bounded(world: World) -> None:
    for number in range(MOST_DEPENDENCIES * 2):
        await world.fail(world.orders, f"server {number}", times=3)
    assert len(world.breakers.states()) == MOST_DEPENDENCIES


async def test_names_show_no_passwords(world: World) -> None:
    await world.fail(world.orders, "https://me:hunter2@crm/api", times=3)
    shown = f"{world.breakers.states()} {world.heard.told} {world.text.getvalue()} {world.metrics.exposition()!r}"
    assert "crm" in shown
    assert "hunter2" not in shown


# In the worker.


class Order(Contract, frozen=True):
    number: int = 0


class Shop:
    """Two routes, one of which needs the cache; `crm` says whether what only handlers know is up."""

    def __init__(self) -> None:
        self.module = Module("shop", kind="service", summary="A shop.")
        self.kept: list[int] = []
        self.seen: list[int] = []
        self.tried = 0
        self.crm = True

        @self.module.stream("orders.raw", Order, retry=Retry(attempts=1), partitions=1)
        async def keep(order: Order, cache: Cache) -> None:
            self.tried += 1
            await cache.set(str(order.number), b"")
            self.kept.append(order.number)

        @self.module.stream("clicks.raw", Order, retry=Retry(attempts=1), partitions=1)
        async def see(order: Order) -> None:
            self.seen.append(order.number)

        @self.module.job("run.call", Order, retry=Retry(attempts=1))
        async def call(order: Order) -> int:
            self.tried += 1
            if not self.crm:
                raise Unavailable("crm api", "no answer")
            return order.number


class FlakyCache(MemoryCache):
    """A cache whose server can be switched off."""

    up = True

    async def check(self) -> None:
        if not self.up:
            raise Unavailable(self.address, "it is off")

    async def set(self, *args: Any, **options: Any) -> None:
        await self.check()
        await super().set(*args, **options)


@asynccontextmanager
async def shop_with_cache(clock: ManualClock) -> AsyncIterator[tuple[Shop, FlakyCache, Any]]:
    shop, cache = Shop(), FlakyCache(clock, metrics=MemoryMetrics(), most_entries=100, most_bytes=1 << 20)
    async with harness(shop.module, clock=clock, cache=cache) as running:
        yield shop, cache, running


async def test_a_route_waits_for_its_dependency_and_others_go_on(clock: ManualClock) -> None:
    async with shop_with_cache(clock) as (shop, cache, running):
        cache.up = False
        await running.publish("orders.raw", *[Order(number=number) for number in range(20)])
        await running.until(lambda: running.metrics.value(metric.BREAKER_OPEN, dependency="cache") == 1)
        tried = shop.tried
        await running.publish("orders.raw", Order(number=20))
        await running.publish("clicks.raw", Order(number=1))
        await running.until(lambda: shop.seen == [1])
        await clock.advance(20.0)
        assert shop.tried == tried, "nothing is tried while it is down"
        ready = await Readiness(running.worker).report()
        assert (ready.status, ready.ok) == ("degraded", True)
        assert [(one.address, one.waits_for) for one in ready.routes] == [("orders.raw", ("cache",))]
        assert ready.breakers["cache"].state == "open"
        cache.up = True
        await running.settled()
        assert await running.dead_letters() == [], "no attempt was used up, though there is only one"
        await clock.advance(1.0)
        assert (await Readiness(running.worker).report()).status == "ok"
    assert sorted(shop.kept) == list(range(21))


async def test_a_cache_that_work_goes_on_without_makes_no_route_wait(clock: ManualClock) -> None:
    class FallingThrough(MemoryCache):
        async def check(self) -> None:
            raise Unavailable("the cache", "it is off; work goes on without it")

    shop = Shop()
    cache = FallingThrough(clock, metrics=MemoryMetrics(), most_entries=100, most_bytes=1 << 20)
    async with harness(shop.module, clock=clock, cache=cache) as running:
        ready = await Readiness(running.worker).report()
        assert (ready.status, ready.ok, ready.routes) == ("degraded", True, ())
        assert ready.checks["cache"].status == "unavailable"
        await running.publish("orders.raw", Order(number=1))
        await running.settled()
    assert sorted(shop.kept) == [1]


async def test_a_drain_does_not_wait_for_what_a_breaker_holds(clock: ManualClock) -> None:
    async with shop_with_cache(clock) as (_, cache, running):
        cache.up = False
        await running.publish("orders.raw", Order(number=1), id="one")
        await running.until(lambda: running.metrics.value(metric.BREAKER_OPEN, dependency="cache") == 1)
        await clock.advance(10.0)
        report = await running.stop()
    assert report.fates == {"one": "requeued"}
    assert report.seconds < 1.0


async def test_jobs_whose_dependency_is_down_are_not_claimed(clock: ManualClock) -> None:
    shop = Shop()
    shop.crm = False
    async with harness(shop.module, clock=clock) as running:
        ids = [await running.start("run.call", Order(number=number)) for number in range(6)]
        await running.until(lambda: running.metrics.value(metric.BREAKER_OPEN, dependency="crm api") == 1)
        tried = shop.tried
        later = await running.start("run.call", Order(number=6))
        await clock.advance(20.0)
        assert shop.tried - tried <= 10, "only now and then one, to see"
        row = await running.ledger.desk.get(later)
        assert row is not None
        assert row.state is JobState.QUEUED
        shop.crm = True
        rows = [await running.ended(job_id) for job_id in [*ids, later]]
    assert {(row.state, row.attempt) for row in rows} == {(JobState.DONE, 1)}, "no attempt was used up"
