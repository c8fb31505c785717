"""A progress bar with rows, bytes, rate and time left; where there is no terminal, a log line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TextIO

from contracts.job import Progress

LINE_EVERY_S = 5.0

Say = Callable[[Progress], None]


class AboveTheBar:
    """A text stream onto standard error for the log: while a bar is shown its lines come above it, unbroken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.bar: Any = None

    @classmethod
    def on_stderr(cls) -> AboveTheBar:
        return cls(sys.stderr)

    def write(self, text: str) -> int:
        if self.bar is None:
            return self._stream.write(text)
        from rich.text import Text

        self.bar.console.print(Text.from_ansi(text.removesuffix("\n")), soft_wrap=True)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def following(title: str, *, above: AboveTheBar, as_json: bool, otherwise: Say) -> Iterator[Say]:
    """Yields what is to be called with each progress, as often as one likes; `otherwise` is called with one of them
    every few seconds where no bar can be shown."""
    if not sys.stderr.isatty() or as_json:
        yield _seldom(otherwise)
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[size]}", justify="right"),
        progress.TextColumn("{task.fields[rate]}", justify="right"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[message]}", style="dim", markup=False),
    )
    bar = progress.Progress(
        *columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False, expand=False
    )
    row = bar.add_task(title, total=None, size="", rate="", message="")
    began_at = perf_counter()
    with bar:
        above.bar = bar
        try:
            yield lambda now: bar.update(row, **shown(now, seconds=perf_counter() - began_at))
        finally:
            above.bar = None


def shown(now: Progress, *, seconds: float) -> dict[str, Any]:
    """What the bar says: it goes by bytes where their total is known, else by rows."""
    by_bytes = bool(now.total_bytes) or not now.total_rows
    total = now.total_bytes if by_bytes else now.total_rows
    of_bytes = f" of {_bytes(now.total_bytes)}" if now.total_bytes else ""
    of_rows = f" of {now.total_rows:,}" if now.total_rows else ""
    size = [f"{now.rows:,}{of_rows} rows"] if now.rows or now.total_rows else []
    size += [f"{_bytes(now.bytes)}{of_bytes}"] if now.bytes or now.total_bytes else []
    rate = f"{now.rows / seconds:,.0f} rows/s" if now.rows and seconds > 0 else ""
    return {
        "completed": now.bytes if by_bytes else now.rows,
        "total": total or None,
        "size": ", ".join(size),
        "rate": rate,
        "message": now.message,
    }


def _seldom(say: Say) -> Say:
    said_at = perf_counter()

    def maybe(now: Progress) -> None:
        nonlocal said_at
        if perf_counter() - said_at >= LINE_EVERY_S:
            said_at = perf_counter()
            say(now)

    return maybe


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:,.1f} TB"
