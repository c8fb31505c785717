"""Two ledgers behind one Kafka: modules are shared out among them by settings alone, and speak as before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest

from adapters.clock.system import SystemClock
from contracts.errors import Faults
from contracts.message import Contract, Envelope
from contracts.module import Module
from contracts.ports import Db, Emit
from runtime import settings
from runtime.worker import Worker
from tests.kit import services
from tests.kit.databases import Databases
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]

ORDERS = 40


class Order(msgspec.Struct, frozen=True):
    number: int


class Ship(Contract, frozen=True):
    number: int


def taking(orders: str, ship: str) -> Module:
    """Writes each order down, and has every fourth shipped."""
    module = Module("taking", kind="service", summary="Takes orders.")

    @module.stream(orders, Order)
    async def take(order: Order, db: Db, emit: Emit) -> None:
        await db.execute("insert into taken values ($1)", order.number)
        if order.number % 4 == 0:
            await emit(ship, Ship(number=order.number))

    return module


def shipping(ship: str) -> Module:
    module = Module("shipping", kind="job", summary="Ships.")

    @module.job(ship, Ship)
    async def run(cmd: Ship, db: Db) -> None:
        await db.execute("insert into shipped values ($1)", cmd.number)

    return module


@asynccontextmanager
async def worker(module: Module, url: str, kafka: services.Running, directory: Path) -> AsyncIterator[Worker]:
    """As its settings say; it is drained at the end."""
    environ = {
        "DB_POSTGRES_URL": url,
        "MILLRACE_MQ": "kafka",
        "MQ_KAFKA_BOOTSTRAP_SERVERS": kafka.url,
        "MILLRACE_LOG": "json",
        "LOG_LEVEL": "warn",
    }
    made = Worker(settings.load(overrides={}, environ=environ, directory=directory), [module])
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def numbers(url: str, table: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [row["number"] for row in await connection.fetch(f"select number from {table} order by 1")]  # noqa: S608
    finally:
        await connection.close()


async def test_modules_are_shared_out_and_what_one_emits_the_other_does_once(
    databases: Databases, kafka: services.Running, tmp_path: Path
) -> None:
    name = SystemClock().new_id()[-8:]
    orders, ship = f"orders.{name}", f"run.ship_{name}"
    async with databases.fresh() as first, databases.fresh() as second:
        for url, table in ((first, "taken"), (second, "shipped")):
            connection = await asyncpg.connect(url)
            await connection.execute(f"create table {table} (number integer)")  # twice would show
            await connection.execute("update millrace.ledger set id = $1", table)  # both are copies of one template
            await connection.close()
        async with (
            worker(shipping(ship), second, kafka, tmp_path) as ships,
            worker(taking(orders, ship), first, kafka, tmp_path) as takes,
        ):
            await takes.adapters.bus.publish(
                *(
                    Envelope(id=f"o{number}", address=orders, body=b'{"number": %d}' % number, key=str(number % 7))
                    for number in range(ORDERS)
                )
            )

            async def all_shipped() -> bool:
                return len(await numbers(second, "shipped")) >= ORDERS // 4

            await until(all_shipped, timeout_s=60, what="every fourth order shipped")
            assert not await takes.adapters.ledger.desk.counts()
            assert sum((await ships.adapters.ledger.desk.counts()).values()) == ORDERS // 4
        assert await numbers(first, "taken") == list(range(ORDERS))
        assert await numbers(second, "shipped") == list(range(0, ORDERS, 4))
        with pytest.raises(Faults, match="kept with ledger taken, and this worker has ledger shipped"):
            async with worker(taking(orders, ship), second, kafka, tmp_path):
                pass
