"""What a command prints: results on standard output, as a table or as JSON; everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.errors import BadInput, Faults

if TYPE_CHECKING:
    from rich.console import Console


class Output:
    """Rich is imported with the first thing that it has to print."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def stderr(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def stdout(self) -> Console:
        from rich.console import Console

        return Console(highlight=False)

    def note(self, text: str) -> None:
        self.stderr.print(text, style="yellow", markup=False)

    def error(self, text: str) -> None:
        if self.as_json:
            print(msgspec.json.encode({"error": text}).decode(), file=sys.stderr)
        else:
            self.stderr.print(f"millrace: {text}", style="red", markup=False)

    def faults(self, error: Faults | BadInput) -> None:
        if self.as_json:
            print(
                msgspec.json.encode({"error": "wrong arguments or settings", "faults": error.faults}).decode(),
                file=sys.stderr,
            )
            return
        subject = error.subject if isinstance(error, Faults) else "arguments"
        self.stderr.print(f"millrace: {subject}: nothing was started, because", style="red", markup=False)
        for fault in error.faults:
            self.stderr.print(f"  - {fault}", markup=False)

    def document(self, text: str) -> None:
        """Text that is itself the result, such as a draft file."""
        if self.as_json:
            self._json({"document": text})
        else:
            print(text)

    def value(self, value: Any, *, title: str = "") -> None:
        """One result: its fields, a line each."""
        if self.as_json:
            self._json(value)
            return
        from rich.table import Table

        plain = msgspec.to_builtins(value, order="deterministic") if not isinstance(value, Mapping) else value
        if not isinstance(plain, Mapping):
            self.stdout.print(plain, markup=False)
            return
        table = Table(title=title or None, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        nested = {}
        for name, field in plain.items():
            if isinstance(field, list | tuple) and field and isinstance(field[0], Mapping):
                nested[name] = field
            elif field not in (None, "", [], {}, ()):
                table.add_row(name, cell(field))
        self.stdout.print(table)
        for name, rows in nested.items():
            self.rows(rows, title=name)

    def rows(self, rows: Sequence[Any], *, title: str = "", columns: Sequence[str] = ()) -> None:
        """Several results: a row each."""
        if self.as_json:
            self._json(rows)
            return
        from rich.table import Table

        plain = [msgspec.to_builtins(row) for row in rows]
        if not plain:
            self.stdout.print("none", style="dim")
            return
        shown = columns or [name for name in plain[0] if any(row.get(name) not in (None, "", [], {}) for row in plain)]
        table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in shown:
            table.add_column(name, overflow="fold", justify="right" if _numeric(plain, name) else "left")
        for row in plain:
            table.add_row(*(cell(row.get(name)) for name in shown))
        self.stdout.print(table)

    def _json(self, value: Any) -> None:
        print(msgspec.json.format(msgspec.json.encode(value)).decode())


def cell(value: Any) -> Any:
    """How one value looks in a table."""
    from rich.text import Text

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list | tuple):
        return Text(", ".join(map(str, value)))
    if isinstance(value, Mapping):
        return Text(", ".join(f"{name}: {cell(inner)}" for name, inner in value.items()))
    return Text(str(value))


def _numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)
