"""Migrations: up, down and up again is the same schema; two runners at once; nothing is left of one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.database.postgres import PostgresDb
from contracts.errors import Conflict, Faults, Permanent
from migrations import files, runner
from tests.kit.catalog_dump import dump
from tests.kit.databases import LIMITS, opened

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[PostgresDb]:
    async with opened(PostgresDb(empty_database_url, limits=LIMITS)) as made:
        yield made


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    write(tmp_path, 1, "first", "create table first (n int primary key)", "drop table first")
    write(tmp_path, 2, "second", "create table second (n int); insert into second values (1)", "drop table second")
    return tmp_path


def write(directory: Path, number: int, name: str, up: str, down: str = "select 1") -> None:
    (directory / f"{number:04}_{name}.up.sql").write_text(up)
    (directory / f"{number:04}_{name}.down.sql").write_text(down)


def forget(directory: Path, number: int) -> None:
    for path in directory.glob(f"{number:04}_*"):
        path.unlink()


def states(migrations: list[runner.Migration]) -> list[tuple[int, str]]:
    return [(migration.number, migration.state) for migration in migrations]


async def test_up_down_up_is_the_same_schema(empty: PostgresDb) -> None:
    scripts = files.read()
    before = await dump(empty)
    assert len(await runner.up(empty)) == len(scripts)
    whole = await dump(empty)
    assert any("millrace._migrations" in line for line in whole)
    for script in reversed(scripts):
        [reverted] = await runner.down(empty, 1)
        assert reverted.number == script.number
    assert await dump(empty) == before, "a way down leaves something behind"
    await runner.up(empty)
    assert await dump(empty) == whole


async def test_each_step_down_is_undone_by_its_step_up(empty: PostgresDb) -> None:
    await runner.up(empty)
    for script in reversed(files.read()):
        there = await dump(empty)
        await runner.down(empty, 1)
        await runner.up(empty, to=script.number)
        assert await dump(empty) == there, f"{script.file} and its way down are not each other's opposite"
        await runner.down(empty, 1)


async def test_status_tells_each_number(empty: PostgresDb, scripts: Path) -> None:
    assert states(await runner.status(empty, directory=scripts)) == [(1, "pending"), (2, "pending")]
    assert states(await runner.up(empty, to=1, directory=scripts)) == [(1, "applied")]
    first, second = await runner.status(empty, directory=scripts)
    assert (first.state, second.state) == ("applied", "pending")
    assert first.applied_at is not None
    assert first.millrace_version
    assert states(await runner.up(empty, directory=scripts)) == [(2, "applied")]
    assert await runner.up(empty, directory=scripts) == []


async def test_down_goes_as_far_as_there_is_something(empty: PostgresDb, scripts: Path) -> None:
    await runner.up(empty, directory=scripts)
    assert [done.number for done in await runner.down(empty, 5, directory=scripts)] == [2, 1]
    assert await runner.down(empty, 1, directory=scripts) == []


async def test_runners_at_once_take_turns(empty_database_url: str, scripts: Path) -> None:
    write(scripts, 3, "slow", "create table slow (n int); select pg_sleep(0.2)", "drop table slow")

    async def run() -> list[int]:
        async with opened(PostgresDb(empty_database_url, limits=LIMITS)) as db:
            return [done.number for done in await runner.up(db, directory=scripts)]

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(run()) for _ in range(4)]
    assert sorted(number for one in runs for number in one.result()) == [1, 2, 3]


async def test_a_failing_one_leaves_nothing(empty: PostgresDb, scripts: Path) -> None:
    write(scripts, 2, "second", "create table second (n int); insert into second values ('x')")
    with pytest.raises(Permanent, match=r"0002_second\.up\.sql"):
        await runner.up(empty, directory=scripts)
    assert states(await runner.status(empty, directory=scripts)) == [(1, "applied"), (2, "pending")]
    assert await empty.fetch_value("select to_regclass('second')") is None
    write(scripts, 2, "second", "create table second (n int)", "drop table nowhere")
    await runner.up(empty, directory=scripts)
    with pytest.raises(Permanent, match=r"0002_second\.down\.sql"):
        await runner.down(empty, 1, directory=scripts)
    assert await empty.fetch_value("select to_regclass('second') is not null")


async def test_a_changed_file_is_refused_by_name(empty: PostgresDb, scripts: Path) -> None:
    await runner.up(empty, directory=scripts)
    sql = (scripts / "0001_first.up.sql").read_text()
    (scripts / "0001_first.up.sql").write_bytes(sql.replace("\n", "\r\n").encode())
    assert await runner.up(empty, directory=scripts) == [], "line ends are no change"
    (scripts / "0001_first.up.sql").write_text(f"{sql} -- changed")
    with pytest.raises(Conflict, match=r"0001_first\.up\.sql"):
        await runner.up(empty, directory=scripts)
    assert states(await runner.status(empty, directory=scripts)) == [(1, "changed"), (2, "applied")]


class Warnings:
    """The part of `Log` that the runner uses."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def warn(self, message: str, **context: Any) -> None:
        self.said.append((message, context))


async def test_what_a_newer_version_applied_on_top_is_fine_and_told(empty: PostgresDb, scripts: Path) -> None:
    await runner.up(empty, directory=scripts)
    forget(scripts, 2)
    log = Warnings()
    assert await runner.up(empty, log=log, directory=scripts) == []  # type: ignore[arg-type]
    assert log.said == [("the database was migrated by a newer version", {"unknown": ["0002_second"]})]
    assert states(await runner.status(empty, directory=scripts)) == [(1, "applied"), (2, "unknown")]
    with pytest.raises(Conflict, match="0002_second"):
        await runner.down(empty, 1, directory=scripts)


async def test_two_lines_of_migrations_are_not_mixed(empty: PostgresDb, scripts: Path) -> None:
    await runner.up(empty, directory=scripts)
    forget(scripts, 2)
    write(scripts, 2, "other", "create table other (n int)")
    with pytest.raises(Conflict, match="0002_second"):
        await runner.up(empty, directory=scripts)


async def test_an_index_is_built_outside_of_a_transaction(empty: PostgresDb, scripts: Path) -> None:
    up = f"{files.NO_TRANSACTION}\ncreate index concurrently if not exists by_n on second (n)"
    write(scripts, 3, "index", up, "drop index by_n")
    assert [done.number for done in await runner.up(empty, directory=scripts)] == [1, 2, 3]
    assert await empty.fetch_value("select indisvalid from pg_index where indexrelid = 'by_n'::regclass")
    await runner.down(empty, 1, directory=scripts)
    assert await empty.fetch_value("select to_regclass('by_n')") is None


async def test_nothing_pending_is_one_round_trip(db: PostgresDb) -> None:
    await runner.up(db)
    asked: list[str] = []
    async with db.pool.acquire() as connection:
        connection.add_query_logger(lambda record: asked.append(record.query))
    await runner.up(db)
    assert len(asked) == 1


def test_every_fault_of_the_files_is_told(tmp_path: Path) -> None:
    write(tmp_path, 2, "second", "select 1")
    write(tmp_path, 4, "fourth", "select 1")
    write(tmp_path, 4, "again", "select 1")
    (tmp_path / "5_short.up.sql").write_text("")
    (tmp_path / "0005_half.up.sql").write_text("")
    with pytest.raises(Faults) as refused:
        files.read(tmp_path)
    told = str(refused.value)
    for fault in (
        "0001 is missing",
        "0003 is missing",
        "0004_again",
        "0004_fourth",
        "5_short.up.sql",
        "has no .down.sql",
    ):
        assert fault in told


def test_new_takes_the_next_number(tmp_path: Path) -> None:
    assert [path.name for path in runner.new("first", directory=tmp_path)] == [
        "0001_first.up.sql",
        "0001_first.down.sql",
    ]
    up, _ = runner.new("add_index", directory=tmp_path)
    assert up.name == "0002_add_index.up.sql"
    assert [script.name for script in files.read(tmp_path)] == ["first", "add_index"]
    for wrong in ("", "Add index", "../x", "1st"):
        with pytest.raises(Faults):
            runner.new(wrong, directory=tmp_path)
