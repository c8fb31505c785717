"""How a job ended, for people or as JSON."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.job import JobRow, JobState
from runtime import exits, registry
from runtime.cli.output import Output


def told(output: Output, row: JobRow) -> int:
    """Print it; the exit code that follows from it."""
    if output.as_json:
        output.value(row)
    elif row.state is JobState.DONE:
        _tell_result(output, row, title=f"job {row.id} is done")
    elif row.state is JobState.SKIPPED:
        output.say(f"job {row.id} was skipped: {row.error or 'another one with its unique key was active'}")
    else:
        if row.result is not None:
            _tell_result(output, row)
        output.error(f"job {row.id} {row.state.value} at attempt {row.attempt}: {row.error or 'no reason given'}")
    return exits.DONE if row.state in (JobState.DONE, JobState.SKIPPED) else exits.FAILED


def _tell_result(output: Output, row: JobRow, *, title: str = "") -> None:
    result = _declared(row)
    output.value({"result": result} if not isinstance(result, Mapping | msgspec.Struct) else result, title=title)


def _declared(row: JobRow) -> Any:
    """The result as its handler declares it: the ledger keeps JSON, without the order of the fields."""
    owner = registry.owner_of(row.address, registry.find().modules)
    returns = typing.get_type_hints(owner[1].handler).get("return") if owner else None
    try:
        return row.result if returns is None else msgspec.convert(row.result, returns)
    except msgspec.ValidationError:  # another version of the module wrote it
        return row.result
