"""The outbox on a real server: connections that are killed, senders that stall, transactions that stay open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres import PostgresLedger, lines, outbox, session
from adapters.metrics.memory import MemoryMetrics
from contracts.errors import Unavailable
from contracts.message import Envelope
from runtime.outbox import OutboxRelay
from tests.kit.toy_bus import Lines, ToyBus
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

KILL = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name = $1
"""


@pytest.fixture
async def ledgers(db: PostgresDb) -> AsyncIterator[list[PostgresLedger]]:
    async with AsyncExitStack() as stack:
        made = [PostgresLedger(db) for _ in range(2)]
        for ledger in made:
            await ledger.open()
            stack.push_async_callback(ledger.close)
        yield made


def messages(*ids: str, key: str = "k") -> list[Envelope]:
    return [Envelope(id=id_, address="out", body=b"{}", key=key) for id_ in ids]


class Sent:
    """A sender that holds each call until it may go on."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, envelopes: Sequence[Envelope]) -> None:
        self.ids.extend(envelope.id for envelope in envelopes)
        self.began.set()
        await self.go_on.wait()


async def test_who_loses_its_connection_stops_sending_and_another_goes_on(
    ledgers: list[PostgresLedger], db: PostgresDb
) -> None:
    first, second = Sent(), Sent()
    second.go_on.set()
    await ledgers[0].outbox.add(messages("a", "b"), tx=None)
    async with asyncio.TaskGroup() as group:
        passing = group.create_task(_relay(ledgers[0], first))
        await first.began.wait()
        assert await ledgers[1].outbox.relay(second) == 0
        assert await db.fetch_value(KILL, "millrace outbox") >= 1
        # Nobody lets the first one go on: that its lock is gone is what ends its send.
        assert "lost" in await passing
        assert await ledgers[1].outbox.relay(second) == 2
    assert (first.ids, second.ids) == (["a", "b"], ["a", "b"]), "a repeat has the same ids"
    await ledgers[0].outbox.add(messages("c"), tx=None)
    assert await ledgers[0].outbox.relay(second) == 1, "its connection is made again"


async def _relay(ledger: PostgresLedger, sent: Sent) -> str:
    try:
        await ledger.outbox.relay(sent)
    except Unavailable as error:
        return str(error)
    raise AssertionError("it should not have been confirmed")


async def _sends(ledger: PostgresLedger, sent: Sent) -> bool:
    return await ledger.outbox.relay(sent) > 0


async def test_a_sender_that_is_heard_of_no_more_loses_its_keys(
    ledgers: list[PostgresLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STALL_TIMEOUT_S", 0.2)
    stalled, second = Sent(), Sent()
    second.go_on.set()
    await ledgers[0].outbox.add(messages("a"), tx=None)
    async with asyncio.TaskGroup() as group:
        passing = group.create_task(_relay(ledgers[0], stalled))
        await stalled.began.wait()
        await until(lambda: _sends(ledgers[1], second), what="another takes over")
        assert "lost" in await passing
    assert second.ids == ["a"]


async def test_a_bus_that_never_answers_is_given_up(
    ledgers: list[PostgresLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SEND_TIMEOUT_S", 0.05)
    await ledgers[0].outbox.add(messages("a"), tx=None)
    assert "1 messages within 0.05 s" in await _relay(ledgers[0], Sent())
    assert await ledgers[0].outbox.backlog() == 1


async def test_two_relays_whose_connections_are_cut_all_the_time(ledgers: list[PostgresLedger], db: PostgresDb) -> None:
    bus, clock = ToyBus(), SystemClock()
    relays = [
        OutboxRelay(ledger, bus, most=100, clock=clock, log=Lines(), metrics=MemoryMetrics())  # type: ignore[arg-type]
        for ledger in ledgers
    ]
    wanted = {f"k{n}": [f"k{n}-{m:02}" for m in range(30)] for n in range(6)}
    added = asyncio.Event()

    async def add() -> None:
        for m in range(30):
            await ledgers[m % 2].outbox.add(
                [envelope for key, ids in wanted.items() for envelope in messages(ids[m], key=key)], tx=None
            )
        added.set()

    async def cut() -> None:
        killed = 0
        while not added.is_set() or killed < 5:
            killed += await db.fetch_value(KILL, "millrace outbox")
            await db.fetch_value(KILL, "millrace wakes")

    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(loop()) for relay in relays for loop in (relay.listen, relay.run)]
        async with asyncio.TaskGroup() as meanwhile:
            meanwhile.create_task(add())
            meanwhile.create_task(cut())
        await until(lambda: _is_empty(ledgers[0]), what="an empty outbox")
        for loop in loops:
            loop.cancel()
    sent: dict[str, list[str]] = defaultdict(list)
    for id_ in dict.fromkeys(bus.taken):
        sent[id_.partition("-")[0]].append(id_)
    assert sent == wanted


async def _is_empty(ledger: PostgresLedger) -> bool:
    return await ledger.outbox.backlog() == 0


async def test_who_commits_late_is_sent_before_what_follows_it(ledgers: list[PostgresLedger], db: PostgresDb) -> None:
    sent = Sent()
    sent.go_on.set()
    async with db.transaction() as tx:
        await ledgers[0].outbox.add(messages("early"), tx=tx)
        for n in range(20):
            await ledgers[1].outbox.add(messages(f"{n}"), tx=None)
            assert await ledgers[1].outbox.relay(sent) == 1
    await ledgers[0].outbox.add(messages("and what follows it"), tx=None)
    assert await ledgers[1].outbox.relay(sent) == 2
    assert sent.ids == [*(f"{n}" for n in range(20)), "early", "and what follows it"]


async def test_what_follows_who_commits_while_one_looks_waits_for_the_next_look(
    ledgers: list[PostgresLedger], db: PostgresDb
) -> None:
    sent = Sent()
    sent.go_on.set()

    class Slow(outbox.PostgresOutbox):
        """Between its look and its reading one commits that was numbered below, and what follows that comes."""

        async def _waiting(self) -> list[outbox.Stretch]:
            waiting = await super()._waiting()
            if not commit.is_set():
                commit.set()
                await committed.wait()
                await ledgers[0].outbox.add(messages("and what follows it"), tx=None)
            return waiting

    commit, committed = asyncio.Event(), asyncio.Event()
    slow = Slow(ledgers[1].outbox._session)

    async def early() -> None:
        async with db.transaction() as tx:
            await ledgers[0].outbox.add(messages("early"), tx=tx)
            await ledgers[0].outbox.add(messages("another's"), tx=None)
            numbered.set()
            await commit.wait()
        committed.set()

    numbered = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(early())
        await numbered.wait()
        assert await slow.relay(sent) == 1
    assert await slow.relay(sent) == 2
    await slow.close()
    assert sent.ids == ["another's", "early", "and what follows it"]


@pytest.mark.parametrize("name", ["add", "waiting", "read", "forget"])
async def test_plans_begin_at_the_head_of_an_index(db: PostgresDb, name: str) -> None:
    """Also when the statistics say that the table is empty."""
    await db.execute("analyze millrace.outbox")
    async with db.connect(name="test") as connection:
        await connection.execute(session.SET_UP if name in ("add", "waiting") else lines.SET_UP)
        statement = await connection.raw.prepare(outbox.SQL[name])
        nothing = ", ".join(["null"] * len(statement.get_parameters()))
        await connection.execute(f"prepare asked as {outbox.SQL[name]}")
        plan = "\n".join(row["QUERY PLAN"] for row in await connection.fetch(f"explain execute asked ({nothing})"))
    assert "Seq Scan" not in plan, plan
    if name != "add":
        assert "using outbox_pkey" in plan, plan
        assert "Sort" not in plan, plan
