"""A module that asks for `Statements` only, as a file for processes of a test."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
"""Keeps readings of sensors."""

from __future__ import annotations

from contracts.job import Job
from contracts.message import Contract
from contracts.module import Module
from contracts.ports import Statements

module = Module("readings", kind="job", summary="Keeps readings of sensors.")


class RunReadings(Contract, frozen=True):
    """How many, of which sensor."""

    sensor: str
    count: int = 10


@module.on_startup
async def prepare(db: Statements) -> None:
    await db.execute(
        "create table if not exists readings (sensor text, number int, value double, primary key (sensor, number))"
    )


@module.job("run.readings", RunReadings)
async def run(cmd: RunReadings, job: Job, db: Statements) -> int:
    """The same rows with each attempt."""
    rows = ((cmd.sensor, number, number / 2) for number in range(cmd.count))
    await db.bulk_insert("readings", rows, columns=["sensor", "number", "value"])
    return int(await db.fetch_value("select count(*) from readings where sensor = $1", cmd.sensor))
'''


def write(directory: Path) -> Path:
    """Beside the modules of `tests.kit.own_modules`; returns what is to be put on the path."""
    place = directory / "on_the_path"
    (place / "modules" / "readings").mkdir(parents=True)
    (place / "modules" / "readings" / "__init__.py").write_text(SOURCE)
    return place
