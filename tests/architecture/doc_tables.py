"""The tables in the documents that follow from the code: `python -m tests.architecture.doc_tables` renews them.

A document says where one stands, and nothing else is touched:

    <!-- table: metrics -->
    …
    <!-- end of table -->
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from contracts import metrics
from contracts.ports.metrics import Metric
from runtime import registry, settings

ROOT = Path(__file__).parents[2]
_TABLE = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def metrics_table() -> str:
    """Those of the runtime, then those of the modules."""
    declared = [*metrics.ALL, *module_metrics()]
    rows = [(_code(one.name), one.kind, ", ".join(map(_code, one.labels)), one.help) for one in declared]
    return _table(("metric", "kind", "labels", "what it tells"), rows)


def settings_table() -> str:
    rows = [(_code(one.key), _code(one.default), one.allowed, one.description) for one in settings.described()]
    return _table(("setting", "default", "allowed", "what it is for"), rows)


def commands_table() -> str:
    rows = [
        (_code(f"millrace {' '.join(path)}"), " ".join((command.short_help or command.help or "").split()))
        for path, command in commands()
    ]
    return _table(("command", "what it does"), rows)


def http_table() -> str:
    from runtime.http import openapi
    from runtime.http.application import HANDLERS
    from runtime.http.scopes import COMMAND, LINK, PUBLIC

    paths = openapi.document(HANDLERS, [], version="")["paths"] | {openapi.TEMPLATE: None}
    rows = []
    for path in sorted(paths):
        item = paths[path] or {"post": {"summary": "Post a command, or a message of a stream.", "x-scope": COMMAND}}
        rows += [
            (
                _code(f"{method.upper()} {path}"),
                {PUBLIC: "anyone", LINK: "whoever has the link"}.get(scope := operation["x-scope"], _code(scope)),
                operation["summary"],
            )
            for method, operation in item.items()
        ]
    return _table(("request", "scope", "what it is for"), rows)


def bench_table() -> str:
    """The short forms, each figure with its unit."""
    from benchmarks.short import SHORT

    rows = [
        (
            _code(name),
            one.what,
            ", ".join(f"{setting} {value:,}" for setting, value in one.settings.items()),
            "; ".join(f"{wanted.name} ({wanted.unit}, {wanted.better} is better)" for wanted in one.wanted),
        )
        for name, one in SHORT.items()
    ]
    return _table(("benchmark", "what is done", "how much of it", "figures"), rows)


def bench_against_table() -> str:
    """The long forms."""
    from benchmarks.__main__ import BENCHMARKS

    return _table(("benchmark", "what is measured"), [(_code(name), what) for name, what in BENCHMARKS.items()])


TABLES: dict[str, Callable[[], str]] = {
    "bench": bench_table,
    "bench-against": bench_against_table,
    "metrics": metrics_table,
    "settings": settings_table,
    "commands": commands_table,
    "http": http_table,
}


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of `millrace` that does something, with its path."""
    return _leaves((), root_command())


def root_command() -> Any:
    """The whole tree, with the commands that follow from modules."""
    from runtime.cli import application

    return typer.main.get_command(application.build([]))


def module_metrics() -> list[Metric]:
    found: dict[str, Metric] = {}
    for name in registry.available():
        package = importlib.import_module(f"modules.{name}")
        for part in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(importlib.import_module(part.name)).values()
            found |= {value.name: value for value in values if isinstance(value, Metric)}
    own = {metric.name for metric in metrics.ALL}
    return [found[name] for name in sorted(found.keys() - own)]


def in_document(text: str) -> list[tuple[str, str]]:
    """Names and contents of the tables in a document."""
    return [(found[2], found[3]) for found in _TABLE.finditer(text)]


def renewed(text: str) -> str:
    return _TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[4]}", text)


def _leaves(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in sorted(inner):
        yield from _leaves((*path, name), inner[name])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    for document in documents():
        before = document.read_text()
        if (after := renewed(before)) != before:
            document.write_text(after)
            print(f"wrote {document.relative_to(ROOT)}")
