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


def write(
    directory: Path, number: int, name: str, up: str, down: str = "select 1", *, phase: files.Phase = "before"
) -> None:
    stem = files.stem(number, name, phase)
    (directory / f"{stem}.up.sql").write_text(up)
    (directory / f"{stem}.down.sql").write_text(down)


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


@pytest.fixture
def upgrade(scripts: Path) -> Path:
    """Two releases: one adds a column, and takes the old one away at the end; the next adds another."""
    write(scripts, 3, "add", "alter table first add column new int", "alter table first drop column new")
    write(scripts, 4, "drop", "alter table second drop column n", "alter table second add n int", phase="after")
    write(scripts, 5, "next", "create table next (n int)", "drop table next")
    return scripts


async def test_one_phase_is_applied_by_itself(empty: PostgresDb, upgrade: Path) -> None:
    forget(upgrade, 5)
    assert [one.number for one in await runner.up(empty, phase="before", directory=upgrade)] == [1, 2, 3]
    found = await runner.status(empty, directory=upgrade)
    assert [(one.state, one.phase) for one in found[2:]] == [("applied", "before"), ("pending", "after")]
    assert runner.unfit(found) == [], "what is for afterwards is not needed at start"
    assert await runner.up(empty, phase="before", directory=upgrade) == []
    assert [one.number for one in await runner.up(empty, phase="after", directory=upgrade)] == [4]
    assert [one.number for one in await runner.down(empty, 2, directory=upgrade)] == [4, 3]


async def test_the_next_upgrade_begins_when_the_last_one_is_finished(empty: PostgresDb, upgrade: Path) -> None:
    with pytest.raises(Conflict, match=r"0005_next\.up\.sql comes behind 0004_drop\.after\.up\.sql.*--phase after"):
        await runner.up(empty, phase="before", directory=upgrade)
    assert [one.number for one in await runner.up(empty, directory=upgrade)] == [4, 5], "of both, in order"


@pytest.fixture
def on_top(upgrade: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on top of the real schema, for its table of workers."""
    place = tmp_path_factory.mktemp("versions")
    for ours in files.VERSIONS.glob("*.sql"):
        (place / ours.name).write_bytes(ours.read_bytes())
    for path in upgrade.glob("*.sql"):
        number, rest = path.name.split("_", 1)
        (place / f"{int(number) + runner.newest():04}_{rest}").write_bytes(path.read_bytes())
    return place


async def test_what_is_for_afterwards_waits_for_older_workers(db: PostgresDb, on_top: Path) -> None:
    first = runner.newest() + 1
    after, log = first + 3, Warnings()
    for n, schema in enumerate((after, first, 0)):
        await _live(db, f"w{n}", pid=100 + n, schema=schema)
    done = await runner.up(db, to=after, log=log, directory=on_top)  # type: ignore[arg-type]
    assert [one.number for one in done] == [first, first + 1, first + 2], "the rest is not kept waiting"
    [(said, _)] = log.said
    assert f"{after:04}_drop.after.up.sql waits" in said
    for phase in ("after", None):
        with pytest.raises(Conflict, match="waits") as refused:
            await runner.up(db, phase=phase, directory=on_top)
        assert "h/101 (version 1.2)" in str(refused.value)
        assert "h/102 (version 1.2)" in str(refused.value)
        assert "h/100 " not in str(refused.value), "it knows the migration"
    await db.execute("update millrace.workers set lease_until = now() - interval '1 s' where pid = 101")
    await db.execute("delete from millrace.workers where pid = 102")
    assert [one.number for one in await runner.up(db, phase="after", directory=on_top)] == [after]


async def test_it_can_be_forced(db: PostgresDb, on_top: Path) -> None:
    after = runner.newest() + 4
    await _live(db, "w", pid=1, schema=after - 1)
    await runner.up(db, to=after, directory=on_top)
    with pytest.raises(Conflict, match="force"):
        await runner.up(db, phase="after", directory=on_top)
    assert len(await runner.up(db, phase="after", force=True, directory=on_top)) == 1


async def _live(db: PostgresDb, id_: str, *, pid: int, schema: int) -> None:
    await db.execute(
        "insert into millrace.workers (id, host, pid, modules, http, version, schema, lease_until)"
        " values ($1, 'h', $2, '{}', '', '1.2', $3, now() + interval '1 hour')",
        id_,
        pid,
        schema,
    )


async def test_a_version_whose_needs_were_taken_away_is_told(empty: PostgresDb, upgrade: Path) -> None:
    forget(upgrade, 5)
    await runner.up(empty, directory=upgrade)
    forget(upgrade, 4)
    [fault] = runner.unfit(await runner.status(empty, directory=upgrade))
    assert fault.startswith("drop (applied by millrace ")


async def test_a_record_of_an_older_version_goes_on(empty: PostgresDb, upgrade: Path) -> None:
    """It has no phases: what it has applied was for before."""
    forget(upgrade, 5)
    await runner.up(empty, to=2, directory=upgrade)
    await empty.execute("alter table millrace._migrations drop column phase")
    assert [one.phase for one in await runner.status(empty, directory=upgrade)] == ["before"] * 3 + ["after"]
    assert [one.number for one in await runner.up(empty, directory=upgrade)] == [3, 4]
    assert [one.phase for one in await runner.status(empty, directory=upgrade)] == ["before"] * 3 + ["after"]


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
    (tmp_path / "0006_mixed.after.up.sql").write_text("")
    (tmp_path / "0006_mixed.down.sql").write_text("")
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
        "0006_mixed.after has no .down.sql",
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
    up, _ = runner.new("drop_index", phase="after", directory=tmp_path)
    assert up.name == "0003_drop_index.after.up.sql"
    for wrong in ("", "Add index", "../x", "1st"):
        with pytest.raises(Faults):
            runner.new(wrong, directory=tmp_path)
