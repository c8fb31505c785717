"""The committed JSON Schemas, and what they should be: `python -m tests.contracts_agree.schemas` renews them.

    contracts/schemas/ADDRESS.json           what a route takes
    contracts/schemas/results/ADDRESS.json   what a job returns: kept in the ledger, shown by `jobs show` and HTTP
    contracts/schemas/values/NAME.json       what leaves the process in every module's name

A change of a message is a change of its file, so that a review sees what its producers and consumers will see.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec

from contracts.job import JobRow
from contracts.message import Envelope
from contracts.metric_aggregator import LateEvent, WindowResult
from contracts.module import JobRoute, Route
from contracts.ports.ledger import DeadLetter
from contracts.stream_ingest import BatchLanded
from runtime import registry
from runtime.schema import schema_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DIRECTORY = Path(__file__).parents[2] / "contracts" / "schemas"
VALUES: tuple[type[msgspec.Struct], ...] = (Envelope, DeadLetter, JobRow, BatchLanded, WindowResult, LateEvent)


def routes() -> list[Route]:
    """Every route of every module."""
    return [route for module in registry.load() for route in module.routes]


def results() -> dict[str, Any]:
    """What each job returns, by its address."""
    return {route.address: result_of(route) for route in routes() if isinstance(route, JobRoute)}


def result_of(route: Route) -> Any:
    return typing.get_type_hints(route.handler).get("return")


def expected() -> dict[str, dict[str, Any]]:
    """What the code says, by path below `DIRECTORY`."""
    made: dict[str, dict[str, Any]] = {}
    for route in routes():
        made[f"{route.address}.json"] = schema_of(route.contract)
    for address, result in results().items():
        made[f"results/{address}.json"] = schema_of(result)
    for value in VALUES:
        made[f"values/{value.__name__}.json"] = schema_of(value)
    return {path: {"$schema": DIALECT, **schema} for path, schema in made.items()}


def committed() -> dict[str, dict[str, Any]]:
    """What the files say, by path below `DIRECTORY`."""
    return {
        path.relative_to(DIRECTORY).as_posix(): msgspec.json.decode(path.read_bytes())
        for path in sorted(DIRECTORY.rglob("*.json"))
    }


def committed_for(path: str) -> dict[str, Any]:
    """One schema, as its readers outside of this repository have it."""
    schema: dict[str, Any] = msgspec.json.decode((DIRECTORY / path).read_bytes())
    return schema


def written(schema: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def renew() -> list[str]:
    """Write what the code says and delete what no route has any more; returns what changed."""
    wanted = {DIRECTORY / path: written(schema) for path, schema in expected().items()}
    changed = []
    for path in set(DIRECTORY.rglob("*.json")) - wanted.keys():
        path.unlink()
        changed.append(f"deleted {path.relative_to(DIRECTORY)}")
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            changed.append(f"wrote {path.relative_to(DIRECTORY)}")
    return sorted(changed)


if __name__ == "__main__":
    print("\n".join(renew()) or "every schema is up to date")
