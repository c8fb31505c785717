"""The relay of the outbox: it sends what comes, waits for a bus that is down, and says when too much waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from adapters.clock.manual import ManualClock
from adapters.ledger.memory import MemoryLedger
from adapters.metrics.memory import MemoryMetrics
from contracts import metrics as metric
from contracts.errors import Unavailable
from contracts.message import Envelope
from contracts.ports import Bus, Log
from contracts.ports.ledger import LetterFilter
from runtime.outbox import BACKOFF_MAX_S, LIMIT, POLL_S, OutboxRelay
from tests.kit.toy_bus import Lines, ToyBus

pytestmark = pytest.mark.anyio


class Scene:
    def __init__(self, clock: ManualClock, *, most: int = 10) -> None:
        self.clock = clock
        self.ledger = MemoryLedger(clock)
        self.bus = ToyBus()
        self.lines = Lines()
        self.metrics = MemoryMetrics()
        self.relay = OutboxRelay(
            self.ledger,
            cast(Bus, self.bus),
            most=most,
            clock=clock,
            log=cast(Log, self.lines),
            metrics=self.metrics,
        )

    async def add(self, *ids: str, **more: Any) -> None:
        envelopes = [Envelope(id=id_, address="out", body=b"{}", key="k") for id_ in ids]
        await self.ledger.outbox.add(envelopes, tx=None, **more)

    async def sent(self) -> float | None:
        return self.metrics.value(metric.OUTBOX_SENT)

    @asynccontextmanager
    async def running(self, *loops: str) -> AsyncIterator[None]:
        await self.ledger.open()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(getattr(self.relay, loop)()) for loop in loops or ("listen", "run", "count")]
            await self.clock.advance(0)
            yield
            for task in tasks:
                task.cancel()


@pytest.fixture
def scene(clock: ManualClock) -> Scene:
    return Scene(clock)


async def test_what_comes_is_sent_without_time_going_on(scene: Scene) -> None:
    async with scene.running("listen", "run"):
        for n in range(3):
            await scene.add(f"{n}a", f"{n}b")
            await scene.clock.advance(0)
        assert scene.bus.taken == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert await scene.ledger.outbox.backlog() == 0
    assert await scene.sent() == 6


async def test_a_wake_that_was_lost_costs_a_moment(scene: Scene) -> None:
    async with scene.running("run"):
        await scene.add("a")
        await scene.clock.advance(POLL_S - 0.1)
        assert scene.bus.taken == []
        await scene.clock.advance(0.1)
        assert scene.bus.taken == ["a"]


async def test_a_wake_while_it_sends_is_not_lost(scene: Scene) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    publish = scene.bus.publish

    async def slowly(*envelopes: Envelope) -> None:
        began.set()
        await go_on.wait()
        await publish(*envelopes)

    scene.bus.publish = slowly  # type: ignore[method-assign]
    async with scene.running("listen", "run"):
        await scene.add("a")
        await began.wait()
        await scene.add("b")
        await scene.clock.advance(0)
        go_on.set()
        await scene.clock.advance(0)
        assert scene.bus.taken == ["a", "b"]


async def test_while_the_bus_is_down_everything_stays_and_little_is_tried(scene: Scene) -> None:
    scene.bus.down = Unavailable("the bus", "it is down")
    async with scene.running():
        await scene.add("a", "b")
        await scene.clock.advance(600)
        assert 600 / BACKOFF_MAX_S <= len(scene.bus.calls) <= 2 * 600 / BACKOFF_MAX_S + 10
        assert await scene.ledger.outbox.backlog() == 2
        assert scene.metrics.value(metric.OUTBOX_MESSAGES) == 2
        scene.bus.down = None
        await scene.clock.advance(BACKOFF_MAX_S)
        assert scene.bus.taken == ["a", "b"]
    assert scene.lines.said == [
        ("warn", "messages wait in the outbox"),
        ("info", "messages leave the outbox again"),
    ]


async def test_what_a_full_bus_took_is_not_sent_for_ever(scene: Scene) -> None:
    """It takes one message a second, and never a whole pass: the passes become as small as they must be."""
    names = [f"{n:02}" for n in range(20)]
    scene.bus.room = 0
    async with scene.running():
        await scene.add(*names)
        for _ in range(200):
            scene.bus.room = 1
            await scene.clock.advance(1)
        assert await scene.ledger.outbox.backlog() == 0
    assert list(dict.fromkeys(scene.bus.taken)) == names
    assert len(scene.bus.taken) < 3 * len(names)


async def test_what_the_bus_never_takes_is_buried_and_the_others_go_on(scene: Scene) -> None:
    scene.bus.refused = {"03", "07"}
    async with scene.running("listen", "run"):
        await scene.add(*(f"{n:02}" for n in range(10)))
        await scene.clock.advance(0)
    assert list(dict.fromkeys(scene.bus.taken)) == ["00", "01", "02", "04", "05", "06", "08", "09"]
    letters = await scene.ledger.dead_letters.list(LetterFilter())
    assert sorted((one.id, one.reason, one.error, one.origin) for one in letters) == [
        ("03", "refused by the bus", "03 is too large", "outbox"),
        ("07", "refused by the bus", "07 is too large", "outbox"),
    ]
    assert await scene.ledger.outbox.backlog() == 0
    assert scene.metrics.value(metric.DEAD_LETTERS, address="out", reason="refused by the bus") == 2


async def test_a_bug_is_not_taken_for_a_message_that_is_wrong(scene: Scene) -> None:
    scene.bus.down = TypeError("a bug")
    await scene.add("a")
    with pytest.raises(TypeError):
        await scene.relay.run()
    assert await scene.ledger.outbox.backlog() == 1
    assert await scene.ledger.dead_letters.list(LetterFilter()) == []


async def test_subscribers_hear_when_it_is_full_and_when_it_has_room(scene: Scene) -> None:
    heard: list[bool] = []
    late: list[bool] = []
    scene.relay.subscribe(heard.append)
    async with scene.running("count"):
        await scene.add(*(f"{n:02}" for n in range(10)))
        await scene.clock.advance(2)
        assert heard == [False], "at the bound it is not over it"
        await scene.add("10")
        await scene.clock.advance(2)
        assert heard == [False, True]
        scene.relay.subscribe(late.append)
        assert late == [True]
        await scene.ledger.outbox.relay(_confirm, limit=5)
        await scene.clock.advance(10)
        assert heard == [False, True], "6 are not below half of 10"
        await scene.ledger.outbox.relay(_confirm, limit=1)
        await scene.clock.advance(2)
        assert heard == [False, True, False]
        assert late == [True, False]


async def test_a_drain_sends_what_waits(scene: Scene) -> None:
    await scene.ledger.open()
    await scene.add(*(f"{n:04}" for n in range(LIMIT + 10)))
    await scene.relay.flush(timeout_s=5)
    assert len(scene.bus.taken) == LIMIT + 10
    assert scene.lines.said == []


async def test_a_drain_does_not_wait_for_what_others_add_meanwhile(scene: Scene) -> None:
    publish = scene.bus.publish

    async def and_more(*envelopes: Envelope) -> None:
        await publish(*envelopes)
        await scene.add(*(f"after {envelope.id}" for envelope in envelopes))

    scene.bus.publish = and_more  # type: ignore[method-assign]
    await scene.add("a", "b")
    await scene.relay.flush(timeout_s=5)
    assert scene.bus.taken == ["a", "b"]


async def test_a_drain_waits_for_what_is_being_sent_and_nothing_more_is_begun(scene: Scene) -> None:
    """What the bus has and the ledger has not forgotten yet would be sent once more."""
    began, go_on = asyncio.Event(), asyncio.Event()
    publish = scene.bus.publish

    async def slowly(*envelopes: Envelope) -> None:
        await publish(*envelopes)
        began.set()
        await go_on.wait()

    scene.bus.publish = slowly  # type: ignore[method-assign]
    await scene.ledger.open()
    await scene.add("a")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.relay.run())
        await began.wait()
        flushing = group.create_task(scene.relay.flush(timeout_s=5))
        await scene.clock.advance(0)
        assert not flushing.done()
        go_on.set()
        await flushing
        await running
    await scene.add("b")
    await scene.clock.advance(POLL_S)
    assert scene.bus.taken == ["a"]
    assert [envelope.id for envelope in await left_in(scene.ledger)] == ["b"]


async def left_in(ledger: MemoryLedger) -> list[Envelope]:
    found: list[Envelope] = []

    async def keep(envelopes: Sequence[Envelope]) -> None:
        found.extend(envelopes)

    await ledger.outbox.relay(keep)
    return found


async def test_a_drain_leaves_what_cannot_be_sent_in_its_time(scene: Scene) -> None:
    scene.bus.down = Unavailable("the bus", "it is down")
    await scene.add("a")
    async with asyncio.TaskGroup() as group:
        flushing = group.create_task(scene.relay.flush(timeout_s=5))
        await scene.clock.advance(4.9)
        assert not flushing.done()
        await scene.clock.advance(0.2)
        assert flushing.done()
    assert len(scene.bus.calls) > 2
    assert await scene.ledger.outbox.backlog() == 1
    assert scene.lines.said[-1] == ("warn", "what waits in the outbox is left to other workers")


async def _confirm(_: Any) -> None:
    return
