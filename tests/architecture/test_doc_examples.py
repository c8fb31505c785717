"""The modules and the declarations in the documents are run as they stand there, and so are the tests beside them."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.catalog.yaml_files import YamlCatalog
from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.metric_aggregator import LateEvent
from modules import metric_aggregator
from tests.architecture.doc_tables import ROOT
from tests.kit.harness import harness

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

README, WRITE = ROOT / "README.md", ROOT / "docs" / "write-a-module.md"
STREAMS = ROOT / "docs" / "streams.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@contextmanager
def package(path: Path, name: str) -> Iterator[types.ModuleType]:
    """`modules.NAME` as the document has it, importable under that name."""
    [block] = [block for block in PYTHON.findall(path.read_text()) if f'Module("{name}"' in block]
    made = types.ModuleType(f"modules.{name}")
    sys.modules[made.__name__] = made
    try:
        exec(compile(block, str(path), "exec"), made.__dict__)  # noqa: S102
        yield made
    finally:
        del sys.modules[made.__name__]


def example_test(name: str) -> types.ModuleType:
    """The block with the module's test."""
    [block] = [block for block in PYTHON.findall(WRITE.read_text()) if f"from modules.{name} import" in block]
    made = types.ModuleType(f"test_{name}")
    exec(compile(block, str(WRITE), "exec"), made.__dict__)  # noqa: S102
    return made


def test_the_readmes_module_is_short() -> None:
    [block] = [block for block in PYTHON.findall(README.read_text()) if "Module(" in block]
    lines = [line for line in block.splitlines() if line and not line.startswith("from ")]
    assert len(lines) <= 15


async def test_the_readmes_module_counts_lines(db: PostgresDb, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    with package(README, "count_lines") as made:
        async with harness(made.module, db=db, files=LocalFiles(tmp_path)) as running:
            assert await running.job("run.count_lines", made.CountLines(path="notes.txt")) == 2
    assert await db.fetch("select path, count from lines") == [{"path": "notes.txt", "count": 2}]


async def test_the_job_module_passes_its_test(db: PostgresDb, tmp_path: Path) -> None:
    with package(WRITE, "count_lines"):
        await example_test("count_lines").test_lines_are_counted(db, tmp_path)


async def test_the_stream_module_passes_its_test(db: PostgresDb) -> None:
    with package(WRITE, "orders"):
        await example_test("orders").test_an_order_that_comes_twice_is_kept_once(db)


def shown(block: str) -> list[list[str]]:
    """The cells of a table as psql prints it, without its head."""
    rows = [line for line in block.splitlines() if "|" in line][1:]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


async def test_the_readings_make_the_windows_that_are_shown(db: PostgresDb, tmp_path: Path) -> None:
    event, aggregation, *_ = re.findall(r"^```yaml\n(.*?)^```$", STREAMS.read_text(), re.MULTILINE | re.DOTALL)
    for folder, name, text in [("events", "reading", event), ("aggregations", "readings_by_sensor", aggregation)]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(text)
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```$", STREAMS.read_text(), re.MULTILINE | re.DOTALL)
    [query] = re.findall(r'-c "(select [^"]*)"', STREAMS.read_text())
    compared = 0
    async with harness(metric_aggregator.module, db=db, catalog=YamlCatalog(tmp_path)) as running:
        for language, block in blocks:
            for reading in re.findall(r"^send '(.*)'$", block, re.MULTILINE):
                await running.publish("readings", reading.encode(), key="s1")
            await running.settled()
            if language == "text":
                rows = [[_as_psql(value) for value in row.values()] for row in await db.fetch(query)]
                assert rows == shown(block)
                compared += 1
        await running.until(lambda: bool(running.emitted("readings.too_late", LateEvent)), what="the late one")
    assert compared == 3
    [late] = running.emitted("readings.too_late", LateEvent)
    assert late.reason == "late"


def _as_psql(value: object) -> str:
    return str(value)[0].lower() if isinstance(value, bool) else str(value)
