"""Messages that kcat and redis-cli send, in the forms that `docs/other-producers.md` shows."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.clock.system import SystemClock
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Bus
from tests.kit import services
from tests.kit.harness import harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]

SHOWN = Path(__file__).parents[2] / "docs" / "other-producers.md"


class Order(Contract, frozen=True):
    customer: str
    number: int


def command(tool: str, **places: str) -> str:
    """As the document shows it, with its places changed for those of the test."""
    if shutil.which(tool) is None:
        package = {"redis-cli": "redis-tools"}.get(tool, tool)
        services.missing(tool, reason="it is not installed", remedy=f"Debian, Ubuntu: apt install {package}")
    shown: str
    [shown] = [block for block in re.findall(r"```sh\n(.*?)```", SHOWN.read_text(), re.DOTALL) if tool in block]
    for place, instead in places.items():
        assert place in shown
        shown = shown.replace(place, instead)
    return shown


async def run(shown: str) -> None:
    process = await asyncio.create_subprocess_shell(
        shown, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def arrives(bus: Bus, address: str, shown: str) -> None:
    """Sent twice under one id, it is handled once; then one without anything but a body."""
    module = Module("orders", kind="service", summary="Takes orders.")
    taken: list[Order] = []

    @module.stream(address, Order, key="customer", partitions=2, dedupe_s=60)
    async def take(order: Order) -> None:
        taken.append(order)

    async with harness(module, bus=bus) as running:
        await run(shown)
        await run(shown)
        await run(re.sub(r"(-H )?ce_id[ =]A-1", "", shown).replace('"number": 1', '"number": 2'))
        await running.until(lambda: Order(customer="c1", number=2) in taken, what="what was sent last")
    assert taken == [Order(customer="c1", number=1), Order(customer="c1", number=2)]


async def ledger_id() -> str:
    return "other-producers"


async def test_kcat(kafka: services.Running) -> None:
    address = f"orders.{SystemClock().new_id()[-10:]}"
    shown = command("kcat", **{"localhost:9092": kafka.url, "orders.raw": address})
    await arrives(KafkaBus(kafka.url, clock=SystemClock(), ledger_id=ledger_id), address, shown)


async def test_redis_cli(redis_server: services.Running) -> None:
    address = f"orders.{SystemClock().new_id()[-10:]}"
    url = urlsplit(redis_server.url)
    connected = f"redis-cli -u redis://{url.netloc}{url.path or '/0'}"
    shown = command("redis-cli", **{"redis-cli": connected, "orders.raw": address})
    await arrives(RedisStreamBus(redis_server.url, clock=SystemClock(), ledger_id=ledger_id), address, shown)
