"""A JSON Schema for each kind of declaration, so that editors complete and check what is written."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from adapters.catalog.kinds import KINDS, Kind


def catalog_schema(kind: Kind[Any]) -> dict[str, Any]:
    """The schema of `kind`, derived from its contract."""
    schema: dict[str, Any] = _cleaned(msgspec.json.schema(kind.struct))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Millrace {kind.name}", **schema}


def _cleaned(part: Any) -> Any:
    """Docstrings without their indentation, which depends on the version of Python."""
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _cleaned(value)
        for key, value in part.items()
    }


def write_schemas(catalog: Path) -> list[Path]:
    """Write every kind's schema into `catalog`/schemas; a declaration names its own in a first line such as
    `# yaml-language-server: $schema=../schemas/dataset.schema.json`."""
    written = []
    for kind in KINDS:
        path = catalog / "schemas" / f"{kind.name}.schema.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(kind), encoding="utf-8")
        written.append(path)
    return written


def as_text(kind: Kind[Any]) -> str:
    """The schema as its file has it."""
    return json.dumps(catalog_schema(kind), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "catalog"))
