"""How a job ended, for people or as JSON."""

from __future__ import annotations

from contracts.job import JobRow, JobState
from runtime import exits
from runtime.cli.output import Output


def told(output: Output, row: JobRow) -> int:
    """Print it; the exit code that follows from it."""
    if output.as_json:
        output.value(row)
    elif row.state is JobState.DONE:
        result = row.result if isinstance(row.result, dict) else {"result": row.result}
        output.value(result, title=f"job {row.id} is done")
    elif row.state is JobState.SKIPPED:
        output.say(f"job {row.id} was skipped: {row.error or 'another one with its unique key was active'}")
    else:
        output.error(f"job {row.id} {row.state.value} at attempt {row.attempt}: {row.error or 'no reason given'}")
    return exits.DONE if row.state in (JobState.DONE, JobState.SKIPPED) else exits.FAILED
