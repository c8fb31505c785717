"""The modules in the documents are run as they stand there."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from adapters.database.postgres import PostgresDb
from contracts.job import JobRow
from contracts.module import Module
from runtime import commands, settings
from runtime.worker import Worker
from tests.architecture.doc_tables import ROOT
from tests.kit.waiting import until

README, WRITE = ROOT / "README.md", ROOT / "docs" / "write-a-module.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[str]:
    """Python blocks that declare a module."""
    return [block for block in PYTHON.findall(path.read_text()) if "Module(" in block]


@contextmanager
def declared(path: Path, name: str) -> Iterator[Module]:
    """The module of that name, from its block; annotations are looked up where it was executed."""
    [block] = [block for block in blocks(path) if f'Module("{name}"' in block]
    made = types.ModuleType(f"a_document.{name}")
    sys.modules[made.__name__] = made
    try:
        exec(compile(block, str(path), "exec"), made.__dict__)  # noqa: S102
        yield made.__dict__["module"]
    finally:
        del sys.modules[made.__name__]


@asynccontextmanager
async def running(module: Module, url: str, home: Path) -> AsyncIterator[Worker]:
    environ = {"DB_POSTGRES_URL": url, "MILLRACE_HOME": str(home), "MILLRACE_LOG": "json", "DRAIN_TIMEOUT_S": "5"}
    worker = Worker(settings.load(overrides={}, environ=environ, directory=home), [module])
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def ended(worker: Worker, address: str, **arguments: str) -> JobRow:
    """The job of this command, once it has."""
    contract = worker.mounted[address].route.contract
    envelope = commands.envelope(address, arguments, contract=contract, clock=worker.clock)
    await worker.submit(envelope)

    async def final() -> bool:
        row = await worker.adapters.ledger.desk.get(envelope.id)
        return row is not None and row.state.final

    await until(final, what="the end of the job")
    row = await worker.adapters.ledger.desk.get(envelope.id)
    assert row
    return row


def test_the_readme_shows_a_short_module() -> None:
    [block] = blocks(README)
    lines = [line for line in block.splitlines() if line and not line.startswith("from ")]
    assert len(lines) <= 15


@pytest.mark.anyio
@pytest.mark.integration
@pytest.mark.parametrize(("path", "table"), [(README, "lines"), (WRITE, "line_counts")], ids=["readme", "write"])
async def test_lines_are_counted(path: Path, table: str, database_url: str, db: PostgresDb, tmp_path: Path) -> None:
    notes = tmp_path / "files" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("one\ntwo\n")
    with declared(path, "count_lines") as module:
        async with running(module, database_url, tmp_path) as worker:
            row = await ended(worker, "run.count_lines", path="notes.txt")
            assert (row.state, row.result) == ("done", 2), row.error
            assert await db.fetch_value(f"select path from {table}") == "notes.txt"  # noqa: S608


@pytest.mark.anyio
@pytest.mark.integration
async def test_orders_are_kept_once(database_url: str, db: PostgresDb, tmp_path: Path) -> None:
    await db.execute("create table orders (id text primary key, customer_id text not null, cents bigint not null)")
    with declared(WRITE, "orders") as module:
        async with running(module, database_url, tmp_path) as worker:
            contract = worker.mounted["orders.raw"].route.contract
            for number in (1, 2, 1):
                order = {"id": str(number), "customer_id": "c", "cents": 5}
                await worker.submit(commands.envelope("orders.raw", order, contract=contract, clock=worker.clock))

            async def kept() -> bool:
                return bool(await db.fetch_value("select count(*) = 2 from orders"))

            await until(kept, what="both orders in the table")
    assert await db.fetch_value("select array_agg(id order by id) from orders") == ["1", "2"]
