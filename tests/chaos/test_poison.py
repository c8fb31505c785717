"""A message that kills its process is put into quarantine after three runs, and its neighbours are not charged."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.message import Envelope
from contracts.ports import Bus
from runtime.wiring import Adapters
from tests.kit import services
from tests.kit.stream_worker import TABLES, TOPIC, Order, chosen

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.timeout(180), pytest.mark.usefixtures("unwatched")]

CUSTOMERS, EACH = 6, 8


def orders() -> list[Order]:
    """One of them is poison, in the middle of the others."""
    made = [Order(customer=f"c{n}", number=number) for number in range(EACH) for n in range(CUSTOMERS)]
    made.insert(len(made) // 2, Order(customer="c1", number=-1))
    return made


async def publish(bus: Bus, address: str, some: list[Order]) -> None:
    clock = SystemClock()
    await bus.publish(
        *(
            Envelope(
                id=clock.new_id(),
                address=address,
                body=msgspec.json.encode(order),
                key=order.customer,
                correlation_id=clock.new_id(),
                published_at=clock.now(),
            )
            for order in some
        )
    )


@pytest.mark.parametrize("mq", ["kafka", "redis-stream"])
async def test_poison_is_quarantined_and_its_neighbours_are_not_charged(
    mq: str, db: PostgresDb, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: services.Running = request.getfixturevalue("kafka" if mq == "kafka" else "redis_server")
    await db.execute(TABLES)
    prefix = f"t{SystemClock().new_id()[-8:]}."
    effects = 2 * CUSTOMERS * EACH
    command = [sys.executable, "-m", "tests.kit.stream_worker", "--url", database_url, "--mq", mq]
    command += ["--server", server.url, "--directory", str(tmp_path), "--prefix", prefix, "--until", str(effects)]

    adapters = Adapters(chosen(database_url, tmp_path, mq=mq, server=server.url))
    await adapters.open("db")
    await adapters.open("ledger")
    await adapters.open("bus")
    ends = []
    try:
        with anyio.fail_after(150):
            # The first worker makes the addresses; what is published is there for it or for the next.
            async with await anyio.open_process(command) as first:
                assert first.stdout is not None
                await first.stdout.receive()
                await publish(adapters.bus, f"{prefix}{TOPIC}", orders())
                ends.append(await first.wait())
            while ends[-1] == -signal.SIGKILL and len(ends) < 8:
                ends.append((await anyio.run_process(command, check=False)).returncode)
    finally:
        await adapters.close()
    assert ends == [-signal.SIGKILL] * 3 + [0]
    runs = await db.fetch("select name, number from runs")
    assert runs == [{"name": "c1", "number": -1}] * 3
    letters = await db.fetch(
        "select reason, convert_from(body, 'utf8')::jsonb ->> 'number' as number from millrace.dead_letters"
    )
    assert letters == [{"reason": "poison", "number": "-1"}]
    rows = await db.fetch(
        "select array_agg(number order by at) as numbers from effects where kind = 'taken' group by name order by name"
    )
    assert [list(row["numbers"]) for row in rows] == [list(range(EACH))] * CUSTOMERS
    assert await db.fetch_value("select count(*) from effects where kind = 'seen'") == CUSTOMERS * EACH
