"""Several senders of one outbox in every order of their steps, dying between any two of them: nothing is lost, nothing
is sent twice without a death, and one key keeps its order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.memory import MemoryLedger
from adapters.ledger.postgres import PostgresLedger
from contracts.message import Envelope
from contracts.ports.outbox import Outbox

pytestmark = pytest.mark.anyio

Verdict = Literal["confirm", "refuse", "lose"]
KEYS = "abcd"
SENDERS = 3
Step = tuple[str, int, bool]
"""What, by whom, and whether the next step waits until they are at rest."""
WHATS = ["add", "add", "pass", "pass", "confirm", "confirm", "refuse", "lose", "die"]
STEPS = st.lists(st.tuples(st.sampled_from(WHATS), st.integers(0, 11), st.booleans()), max_size=40)
TWO_AT_ONCE: list[Step] = [("add", 0, True), ("pass", 0, True), ("pass", 1, True), ("confirm", 1, True)]


class Refused(Exception):
    """The sender's own error: the bus has not taken the messages, or its confirmation was lost."""


class Sender:
    """One process: it has at most one pass under way, and each of its sends waits for a verdict."""

    def __init__(self, outbox: Outbox, sent: list[Envelope]) -> None:
        self.outbox = outbox
        self.passing: asyncio.Task[None] | None = None
        self._sent = sent
        self._verdicts: list[asyncio.Future[Verdict]] = []
        self._asks = asyncio.Event()

    async def send(self, envelopes: Sequence[Envelope]) -> None:
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._verdicts.append(verdict)
        self._asks.set()
        try:
            said = await verdict
            if said != "refuse":
                self._sent.extend(envelopes)
            if said != "confirm":
                raise Refused
        finally:
            self._verdicts.remove(verdict)

    async def one_pass(self) -> None:
        with suppress(Refused):
            await self.outbox.relay(self.send, limit=3)

    @property
    def running(self) -> bool:
        return self.passing is not None and not self.passing.done()

    def begin(self, group: asyncio.TaskGroup) -> None:
        if not self.running:
            self.passing = group.create_task(self.one_pass())

    def judge(self, said: Verdict) -> bool:
        """Whether there was anything to judge."""
        verdict = next((one for one in self._verdicts if not one.done()), None)
        if verdict is not None:
            verdict.set_result(said)
        return verdict is not None

    def die(self) -> bool:
        """Whether it was at work."""
        return self.running and self.passing is not None and self.passing.cancel()

    async def at_rest(self, group: asyncio.TaskGroup) -> None:
        """Returns when its pass has ended, or waits for a verdict."""
        while self.running and not any(not one.done() for one in self._verdicts):
            self._asks.clear()
            asking = group.create_task(self._asks.wait())
            assert self.passing is not None
            await asyncio.wait([self.passing, asking], return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()


class Schedule:
    """What was added and sent, and how often a sender died before it could forget what it had sent."""

    def __init__(self, outboxes: Sequence[Outbox]) -> None:
        self.sent: list[Envelope] = []
        self.senders = [Sender(outbox, self.sent) for outbox in outboxes]
        self.added: dict[str, list[str]] = defaultdict(list)
        self.deaths = 0

    async def run(self, steps: Sequence[Step]) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (what, n, patient) in enumerate(steps):
                sender = self.senders[n % len(self.senders)]
                await self._step(group, sender, what, f"{number}", n)
                if patient:
                    await sender.at_rest(group)
            for sender in self.senders:
                while sender.running:
                    sender.judge("confirm")
                    await sender.at_rest(group)

    async def _step(self, group: asyncio.TaskGroup, sender: Sender, what: str, name: str, n: int) -> None:
        match what:
            case "add":
                key = KEYS[n % len(KEYS)]
                envelopes = [Envelope(id=f"{name}-{m}", address="out", body=b"", key=key) for m in range(1 + n % 3)]
                self.added[key].extend(one.id for one in envelopes)
                await sender.outbox.add(envelopes, tx=None)
            case "pass":
                sender.begin(group)
            case "confirm" | "refuse":
                sender.judge(what)
            case "lose":
                self.deaths += sender.judge(what)
            case "die":
                self.deaths += sender.die()

    async def check(self) -> None:
        async def confirm(envelopes: Sequence[Envelope]) -> None:
            self.sent.extend(envelopes)

        while await self.senders[0].outbox.relay(confirm):
            pass
        assert await self.senders[-1].outbox.backlog() == 0
        first_sent: dict[str, list[str]] = defaultdict(list)
        for id_, key in {envelope.id: envelope.key for envelope in self.sent}.items():
            assert key is not None
            first_sent[key].append(id_)
        assert first_sent == self.added, "each message of a key was sent after the one before it"
        if not self.deaths:
            assert len(self.sent) == sum(map(len, self.added.values())), "nothing was sent twice"


@settings(max_examples=300)
@example(steps=TWO_AT_ONCE)
@given(steps=STEPS)
async def test_in_memory(steps: list[Step]) -> None:
    ledger = MemoryLedger(ManualClock())
    schedule = Schedule([ledger.outbox] * SENDERS)
    await schedule.run(steps)
    await schedule.check()


@asynccontextmanager
async def ledgers(db: PostgresDb) -> AsyncIterator[list[PostgresLedger]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(SENDERS):
            ledger = PostgresLedger(db)
            await ledger.open()
            stack.push_async_callback(ledger.close)
            made.append(ledger)
        yield made


@pytest.fixture
async def outboxes(db: PostgresDb) -> AsyncIterator[list[Outbox]]:
    async with ledgers(db) as made:
        yield [ledger.outbox for ledger in made]


@pytest.mark.integration
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(steps=TWO_AT_ONCE)
@given(steps=STEPS)
async def test_on_postgres(outboxes: list[Outbox], steps: list[Step]) -> None:
    schedule = Schedule(outboxes)
    await schedule.run(steps)
    await schedule.check()
