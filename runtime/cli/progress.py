"""A progress bar with rows, bytes, rate and time left; on something that isn't a terminal, a line now and then."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from contracts.job import Progress
from runtime.cli.output import Output

LINE_EVERY = 20
"""Without a terminal one of so many looks is printed."""


class ProgressBar:
    """Shown as long as its block lasts."""

    def __init__(self, output: Output, title: str) -> None:
        self._output = output
        self._title = title
        self._bar: Any = None
        self._row: Any = None
        self._seen: Progress | None = None
        self._looks = 0

    def __enter__(self) -> ProgressBar:
        if sys.stderr.isatty() and not self._output.as_json:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[rows]:>12,} rows"),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[message]}", style="dim"),
                console=self._output.stderr,
            )
            self._row = self._bar.add_task(self._title, total=None, rows=0, message="")
            self._bar.start()
        return self

    def show(self, progress: Progress) -> None:
        if progress == self._seen:
            return
        self._seen = progress
        if self._bar is not None:
            self._bar.update(
                self._row,
                completed=progress.bytes,
                total=progress.total_bytes or None,
                rows=progress.rows,
                message=progress.message,
            )
        elif self._looks % LINE_EVERY == 0:
            share = f" of {progress.total_bytes:,}" if progress.total_bytes else ""
            print(
                f"{self._title}: {progress.rows:,} rows, {progress.bytes:,}{share} bytes {progress.message}",
                file=sys.stderr,
            )
        self._looks += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
