"""`millrace` in this process: what it printed and the exit code that it ended with."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.cli import application
from runtime.settings_sources import NOT_SETTINGS, PREFIXES


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One command line's end."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return msgspec.json.decode(self.out)

    def errors(self) -> list[dict[str, Any]]:
        """Standard error, as the JSON lines that `--output json` makes of it."""
        return [msgspec.json.decode(line) for line in self.err.splitlines() if line.startswith("{")]


class CommandLine:
    """Calls `millrace` as a shell does, in `directory`, with nothing in the environment but what is given."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self._monkeypatch = monkeypatch
        for key in [key for key in os.environ if key.startswith(PREFIXES) or key in {"MODULES", *NOT_SETTINGS}]:
            monkeypatch.delenv(key)
        for key, value in {"MILLRACE_HOME": str(directory / "home"), "COLUMNS": "200", **environ}.items():
            monkeypatch.setenv(key, value)
        monkeypatch.chdir(directory)

    def set(self, **environ: str) -> None:
        for key, value in environ.items():
            self._monkeypatch.setenv(key, value)

    def __call__(self, *argv: str, stdin: str = "") -> Ran:
        """Run it to its end; its output is not a terminal."""
        out, err = io.StringIO(), io.StringIO()
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin.encode()))
            stack.callback(setattr, sys, "stdin", before)
            try:
                code = application.run([str(word) for word in argv])
            except SystemExit as ended:  # as completion does
                code = int(ended.code or 0)
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())
