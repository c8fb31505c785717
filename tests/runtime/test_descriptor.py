from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Day
from typing import Annotated, Literal

import jsonschema
import msgspec
import pytest
from msgspec import Meta

from contracts.dataset import CsvFormat, Dataset, JsonlFormat
from contracts.job import Job
from contracts.message import Contract
from contracts.module import Batch, Module, Retry
from contracts.ports import Cache, Db, Files, Log
from runtime.descriptor import Argument, arguments_of, describe, schema_of


class RunThing(Contract, frozen=True):
    """Run it.

    Twice if need be.
    """

    name: Annotated[str, Meta(min_length=1, max_length=9, pattern="^[a-z]+$", description="What to run.")]
    day: Day | None = None
    speed: Annotated[float, Meta(gt=0, le=10)] = 1.5
    kind: Literal["slow", "fast"] | None = None
    tags: tuple[str, ...] = ()
    dry_run: bool = False


class Tree(msgspec.Struct):
    label: str
    branches: list[Tree] = []


class Grove(msgspec.Struct):
    oldest: Tree
    discriminator: str = ""


class Order(Contract, frozen=True):
    customer_id: int


def make_module() -> Module:
    module = Module("thing", kind="job", summary="Does a thing.")

    @module.job("run.thing", RunThing, retry=Retry(attempts=2), timeout_s=60, concurrency=3, unique=("name",))
    async def run(cmd: RunThing, job: Job, db: Db, files: Files) -> None:
        """Run the thing."""

    @module.stream("orders.raw", Order, key="customer_id", batch=Batch(rows=10))
    async def ingest(batch: Sequence[Order], db: Db) -> None: ...

    @module.tool("thing check", RunThing)
    async def check(cmd: RunThing, log: Log) -> None:
        """Check a thing."""

    @module.on_startup
    async def warm(cache: Cache) -> None: ...

    return module


def test_arguments_follow_the_command() -> None:
    by_name = {argument.name: argument for argument in arguments_of(RunThing)}
    assert list(by_name) == ["name", "day", "speed", "kind", "tags", "dry_run"]
    assert by_name["name"] == Argument(
        name="name",
        type="string",
        required=True,
        bounds={"minLength": 1, "maxLength": 9, "pattern": "^[a-z]+$"},
        description="What to run.",
    )
    assert by_name["day"] == Argument(name="day", type="string", format="date", required=False, nullable=True)
    assert by_name["speed"].type == "float"
    assert by_name["speed"].bounds == {"exclusiveMinimum": 0, "maximum": 10}
    assert by_name["speed"].default == 1.5
    assert by_name["kind"].choices == ("fast", "slow")
    assert by_name["kind"].nullable
    assert by_name["tags"].type == "array"
    assert by_name["dry_run"].default is False
    assert by_name["dry_run"].option == "--dry-run"


def test_a_module_is_described_whole() -> None:
    described = describe(make_module())
    assert (described.name, described.display_name, described.kind) == ("thing", "Thing", "job")
    assert described.needs == ("cache", "db", "files", "job", "log")
    assert described.command == "run.thing"
    assert described.arguments == arguments_of(RunThing)
    assert [(tool.name, tool.summary) for tool in described.tools] == [("thing check", "Check a thing.")]
    job, stream = described.routes
    assert (job.kind, job.contract, job.summary) == ("job", "RunThing", "Run the thing.")
    assert job.guarantee == "recorded-once"
    assert (job.concurrency, job.unique, job.retry.attempts, job.timeout_s) == (3, ("name",), 2, 60)
    assert (stream.kind, stream.lanes, stream.partitions, stream.key) == ("stream", 64, 8, "customer_id")
    assert stream.batch == Batch(rows=10)
    assert stream.guarantee == "transactional"


def test_the_descriptor_is_json_without_what_does_not_apply() -> None:
    described = msgspec.json.decode(msgspec.json.encode(describe(make_module())))
    job, stream = described["routes"]
    assert "lanes" not in job
    assert "concurrency" not in stream


@pytest.mark.parametrize("contract", [RunThing, Dataset, Tree, Grove])
def test_a_schema_stands_alone(contract: type[msgspec.Struct]) -> None:
    schema = schema_of(contract)
    jsonschema.Draft202012Validator.check_schema(schema)
    refs = set(_refs(schema))
    assert refs <= {f"#/$defs/{name}" for name in schema.get("$defs", {})}
    assert schema["title"] == contract.__name__
    assert schema["type"] == "object"


def test_only_what_contains_itself_is_referred_to() -> None:
    assert not list(_refs(schema_of(Dataset)))
    grove = schema_of(Grove)
    assert set(grove["$defs"]) == {"Tree"}
    validator = jsonschema.Draft202012Validator(grove)
    leaf = {"label": "leaf", "branches": []}
    assert validator.is_valid({"oldest": {"label": "root", "branches": [leaf]}})
    assert not validator.is_valid({"oldest": {"label": "root", "branches": [{"label": 7}]}})


def test_a_field_may_be_called_discriminator() -> None:
    assert "discriminator" in schema_of(Grove)["properties"]


def test_a_tagged_union_is_told_apart_without_its_discriminator() -> None:
    field = schema_of(Dataset)["properties"]["format"]
    validator = jsonschema.Draft202012Validator(field)
    assert validator.is_valid(_as_json(CsvFormat()))
    assert validator.is_valid(_as_json(JsonlFormat()))
    assert not validator.is_valid({"type": "xml"})


def test_what_is_described_is_what_is_decoded() -> None:
    validator = jsonschema.Draft202012Validator(schema_of(RunThing))
    for given in ({"name": "a"}, {"name": "A"}, {"name": "a", "speed": 0}, {"name": "a", "x": 1}, {}, {"name": ""}):
        try:
            msgspec.convert(given, RunThing)
        except msgspec.ValidationError:
            assert not validator.is_valid(given), given
        else:
            assert validator.is_valid(given), given


def test_each_caller_owns_its_schema() -> None:
    schema_of(RunThing)["properties"].clear()
    assert schema_of(RunThing)["properties"]


def test_descriptions_lose_the_indentation_of_the_source() -> None:
    assert schema_of(RunThing)["description"] == "Run it.\n\nTwice if need be."


def _as_json(value: msgspec.Struct) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))


def _refs(node: object) -> Sequence[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return [*found, *(ref for value in node.values() for ref in _refs(value))]
    return [ref for item in node for ref in _refs(item)] if isinstance(node, list) else []
