"""The windows as they fill, close and are corrected: a live table, or without a terminal a line now and then."""

from __future__ import annotations

from datetime import datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from examples.demo_stream.account import Sending
from examples.demo_stream.rides import ZONES
from examples.demo_stream.watching import Seen, Window

LINE_EVERY_S = 3.0
_CELL = 14
_ZONE = 12
_OPEN, _CLOSED, _CORRECTED = "yellow", "green", "bold magenta"


class Screen:
    """Shows what is seen; use it as a context."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._closed_as: dict[tuple[str, datetime], int] = {}
        self._line_due_at: datetime | None = None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def tell(self, text: str) -> None:
        """A line that stays, above the table."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, seen: Seen, sending: Sending, doing: str) -> None:
        """How it stands now."""
        if self._live is not None:
            self._live.update(self._table(seen, sending, doing), refresh=True)
        elif self._line_due_at is None or (seen.at - self._line_due_at).total_seconds() >= LINE_EVERY_S:
            self._line_due_at = seen.at
            self.tell(f"{seen.at:%H:%M:%S} {doing}: {_standing(seen, sending)} · watermark {_behind(seen)}")

    def _table(self, seen: Seen, sending: Sending, doing: str) -> RenderableType:
        fitting = max(1, (self._console.width - _ZONE - 4) // (_CELL + 3))
        starts = sorted({window.window_start for window in seen.windows})[-fitting:]
        by_place = {(window.zone, window.window_start): window for window in seen.windows}
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("window from", width=_ZONE)
        for start in starts:
            table.add_column(f"{start:%H:%M:%S}", justify="right", width=_CELL)
        for zone in ZONES:
            table.add_row(zone, *(self._cell(by_place.get((zone, start))) for start in starts))
        legend = Text.assemble(
            *("rides and takings: ", ("open", _OPEN), ", ", ("closed", _CLOSED), ", ", ("corrected", _CORRECTED)),
            f" · watermark {_behind(seen)}",
        )
        return Group(table, legend, Text(f"{seen.at:%H:%M:%S} {doing}: {_standing(seen, sending)}"))

    def _cell(self, window: Window | None) -> Text:
        if window is None:
            return Text("·", style="dim")
        style = _OPEN
        if window.closed:
            first = self._closed_as.setdefault((window.zone, window.window_start), window.revision)
            style = _CLOSED if window.revision == first else _CORRECTED
        return Text(f"{window.rides:>3} {window.takings:>9}", style=style)


def _standing(seen: Seen, sending: Sending) -> str:
    parts = [
        f"sent {sending.accepted}",
        f"refused {sending.refused}",
        f"landed {seen.landed}",
        f"quarantined {seen.quarantined}",
        f"windows {seen.open_windows} open, {seen.closed} closed, {seen.corrected} times corrected",
        f"late {seen.late}",
        f"too late {seen.aside}",
    ]
    return " · ".join(parts)


def _behind(seen: Seen) -> str:
    if seen.watermark_at is None:
        return "not known yet"
    return f"{seen.watermark_at:%H:%M:%S}, {(seen.at - seen.watermark_at).total_seconds():.1f} s behind the clock"
