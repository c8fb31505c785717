"""docs/story.md, played: events become a lake, the lake a table, the table is checked, windows are made of the same
events, and all of it is read over HTTP. One worker with every module, a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

from adapters.database.postgres import PostgresDb
from tests.e2e.product import BIN, ROOT, environment, millrace, started
from tests.kit import services
from tests.kit.topics import fresh_topic
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.timeout(150)]

DAY = "2026-01-15"
LINES = (ROOT / "examples/shop/orders-placed.jsonl").read_bytes().splitlines()
MODULES = "stream_ingest,metric_aggregator,batch_etl,data_quality,api_gateway"


def accepted() -> list[dict[str, Any]]:
    """Every line that is an order as it was declared, in order; one was sent twice."""
    found = [json.loads(line) for line in LINES if line.endswith(b"}")]
    return [order for order in found if re.fullmatch(r"K\d{4}", order["customer_id"]) and Decimal(order["amount"]) >= 0]


async def publish(kafka: services.Running, topic: str) -> None:
    """As a shop does, with a client of its own: a customer's orders have the customer's key."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.url) as producer:
        sent = [await producer.send(topic, line, key=_customer_of(line)) for line in LINES]
        for confirmed in sent:
            await confirmed


def _customer_of(line: bytes) -> bytes | None:
    found = re.search(rb"K\d{4}", line)
    return found[0] if found else None


async def messages_of(kafka: services.Running, address: str, condition: Any) -> dict[str, Any]:
    """The first message there for which `condition` holds."""
    async with AIOKafkaConsumer(
        address, bootstrap_servers=kafka.url, group_id=None, auto_offset_reset="earliest"
    ) as consumer:
        while True:
            message = json.loads((await consumer.getone()).value)
            if condition(message):
                return dict(message)


class Story:
    def __init__(self, client: httpx.AsyncClient, environ: dict[str, str]) -> None:
        self._client = client
        self._environ = environ

    async def job(self, command: str, **arguments: str) -> dict[str, Any]:
        """A command, published by hand; its job's row once it has ended."""
        said = millrace(self._environ, "publish", command, "--json", json.dumps(arguments), "--output", "json")
        assert said.returncode == 0, said.stderr
        job_id = json.loads(said.stdout)["job_id"]
        row: dict[str, Any] = {}

        async def ended() -> bool:
            row.update((await self._client.get(f"/jobs/{job_id}")).json())
            return row.get("state") in ("done", "failed")

        await until(ended, timeout_s=60, what=f"the end of {command}")
        return row

    async def rows(self, path: str) -> list[dict[str, Any]]:
        """Every row of a resource, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self._client.get(path, params={"limit": "200", **({"cursor": cursor} if cursor else {})})
            assert answer.status_code == 200, answer.text
            page = json.loads(answer.text, parse_float=Decimal)
            found += page["data"]
            cursor = page["next"]
        return found


async def test_from_an_event_to_an_api(
    tmp_path: Path, database_url: str, kafka: services.Running, db: PostgresDb
) -> None:
    shutil.copytree(ROOT / "catalog", tmp_path / "catalog")
    async with fresh_topic(kafka, partitions=4) as topic:
        event = tmp_path / "catalog/events/order_placed.yaml"
        declared = event.read_text().replace("topic: orders.placed", f"topic: {topic}\npartitions: 4")
        event.write_text(declared.replace("wait_s: 10", "wait_s: 1"))
        environ = environment(
            tmp_path,
            database_url,
            MILLRACE_MQ="kafka",
            MQ_KAFKA_BOOTSTRAP_SERVERS=kafka.url,
            MODULES=MODULES,
            FS_LOCAL_ROOT=str(tmp_path / "files"),
            CATALOG_DIR=str(tmp_path / "catalog"),
            MILLRACE_LOG="json",
        )
        async with contextlib.AsyncExitStack() as stack:
            worker = stack.enter_context(started(tmp_path, environ, str(BIN / "faststream"), "run", "runtime.app:app"))
            url = str((await worker.logged("started"))["context"]["http"])
            client = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
            story = Story(await stack.enter_async_context(client), environ)
            await publish(kafka, topic)
            orders = accepted()

            async def landed() -> bool:
                return int(await db.fetch_value("select coalesce(sum(rows), 0) from millrace.lake_files")) == len(
                    orders
                )

            await until(landed, timeout_s=60, what="all orders in the lake")
            refused = millrace(environ, "quarantine", "list", "--dataset", "order_placed", "--output", "json")
            assert len(json.loads(refused.stdout)) == len(LINES) - len(orders)

            loaded = await story.job("run.batch_etl", dataset="orders_by_day", date=DAY)
            assert loaded["state"] == "done", loaded
            last = {order["order_id"]: order for order in orders if order["placed_at"].startswith(DAY)}
            checked = await story.job("run.data_quality", suite="orders_by_day", date=DAY)
            assert checked["state"] == "done", checked
            told = await messages_of(kafka, "quality.completed", lambda one: one["run"] == checked["id"])
            assert (told["suite"], told["failed"], told["passed"]) == ("orders_by_day", 0, 5)

            served = await story.rows("/api/orders_by_day")
            assert {row["order_id"]: Decimal(row["amount"]) for row in served} == {
                number: Decimal(order["amount"]) for number, order in last.items()
            }

            hours = Counter((order["customer_id"], order["placed_at"][:13]) for order in orders)

            async def counted() -> bool:
                windows = await story.rows("/api/orders_by_customer")
                return (
                    Counter({(row["customer_id"], row["window_start"][:13]): row["orders"] for row in windows}) == hours
                )

            await until(counted, timeout_s=60, what="the windows of every customer")
            worker.signal()
            assert await worker.ended() == 0
            assert worker.drain_report()["clean"]
