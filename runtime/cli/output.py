"""What a command prints: results on standard output, as a table or as JSON; everything else on standard error.

Whoever reads may leave early (`millrace jobs list | head -1`): that changes neither the work nor the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from contracts.errors import BadInput, Faults

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 240
"""Columns where there is no terminal to fit into: a table in a file is cut by nobody."""


MANY_COLUMNS = 8
"""Above this a table looks for columns that it can leave out."""


class Output:
    """Rich is imported with the first thing that it has to print."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @staticmethod
    def flush() -> None:
        """Everything is out, or its reader is gone."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                _discard(stream)

    def note(self, text: str) -> None:
        """Something besides the result that is worth knowing."""
        if self.as_json:
            _write(sys.stderr, msgspec.json.encode({"note": text}).decode())
        else:
            console(sys.stderr).print(text, style="yellow", markup=False)

    def error(self, text: str) -> None:
        """Why there is no result."""
        if self.as_json:
            _write(sys.stderr, msgspec.json.encode({"error": text}).decode())
        else:
            console(sys.stderr).print(f"millrace: {text}", style="red", markup=False)

    def faults(self, error: Faults | BadInput) -> None:
        """Everything that is wrong, a line each."""
        subject = error.subject if isinstance(error, Faults) else "arguments"
        if self.as_json:
            _write(sys.stderr, msgspec.json.encode({"error": subject, "faults": error.faults}).decode())
            return
        shown = console(sys.stderr)
        shown.print(f"millrace: {subject}: nothing was done, because", style="red", markup=False)
        for fault in error.faults:
            shown.print(f"  - {fault}", markup=False)

    def say(self, text: str, **fields: Any) -> None:
        """A result that is one sentence; as JSON, its `fields`."""
        _write(sys.stdout, _json(fields) if self.as_json else text)

    def document(self, text: str) -> None:
        """Text that is itself the result, such as a draft file."""
        _write(sys.stdout, _json({"document": text}) if self.as_json else text.removesuffix("\n"))

    def value(self, value: Any, *, title: str = "") -> None:
        """One result: its fields, a line each."""
        if self.as_json:
            _write(sys.stdout, _json(value))
            return
        plain = value if isinstance(value, Mapping) else _plain(value)
        if not isinstance(plain, Mapping):
            _write(sys.stdout, str(plain))
            return
        from rich.table import Table

        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        nested = {}
        for name, field in plain.items():
            if isinstance(field, list | tuple) and field and isinstance(field[0], Mapping):
                nested[name] = field
            elif field not in (None, "", [], {}, ()):
                table.add_row(name, cell(field))
        self._titled(title)
        console(sys.stdout).print(table)
        for name, rows in nested.items():
            self._table(rows, title=name)

    def rows(self, rows: Sequence[Any], *, title: str = "", columns: Sequence[str] = (), none: str = "none") -> None:
        """Several results: a row each, or the word `none`."""
        if self.as_json:
            _write(sys.stdout, _json(rows))
        elif rows:
            self._table([_plain(row) for row in rows], title=title, columns=columns)
        else:
            console(sys.stdout).print(none, style="dim", markup=False)

    def _table(self, rows: Sequence[Mapping[str, Any]], *, title: str = "", columns: Sequence[str] = ()) -> None:
        from rich.table import Table

        names = dict.fromkeys(name for row in rows for name in row)
        shown = columns or [name for name in names if any(row.get(name) not in (None, "", [], {}) for row in rows)]
        if len(shown) > MANY_COLUMNS and len(rows) > 1:
            # What is the same in every row is said once, so that the rest has room.
            same = {
                name: rows[0].get(name) for name in shown if all(row.get(name) == rows[0].get(name) for row in rows)
            }
            shown = [name for name in shown if name not in same]
            self._titled(", ".join(f"{name}: {cell(value)}" for name, value in same.items()))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in shown:
            numeric = all(_is_number(row.get(name)) for row in rows)
            table.add_column(name, overflow="fold", justify="right" if numeric else "left", no_wrap=name == "id")
        for row in rows:
            table.add_row(*(cell(row.get(name)) for name in shown))
        self._titled(title)
        console(sys.stdout).print(table)

    def _titled(self, title: str) -> None:
        if title:
            console(sys.stdout).print(title, style="italic", markup=False, soft_wrap=True)


def console(stream: TextIO) -> Console:
    """Rich on a stream; a reader that left is no error."""
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            _discard(stream)

    wide = None if stream.isatty() or "COLUMNS" in os.environ else _WIDE
    return Patient(file=stream, highlight=False, soft_wrap=stream is sys.stderr, width=wide)


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
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return Text(", ".join(map(_in_a_row, value)))
    if isinstance(value, Mapping):
        return Text(", ".join(f"{name}: {cell(inner)}" for name, inner in value.items()))
    return Text(str(value))


def _in_a_row(value: Any) -> str:
    """Where nothing is, the place is kept; and there is no column whose points could stand below each other."""
    if value is None:
        return "-"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(cell(value))


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(datetime,))


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
        stream.write("\n")


def _discard(stream: TextIO) -> None:
    """Send what is still to be written nowhere, so that nothing fails again at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # the stream has no file behind it
