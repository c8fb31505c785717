"""The Log port: levels, bound context, and the running work's ids on every line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from adapters.log.render import Line, Pretty, Render, as_json
from adapters.log.sink import Sink
from adapters.log.values import plain_items, printable
from contracts.logging_context import current_work
from contracts.ports.clock import Clock

Format = Literal["json", "pretty"]
Marks = Callable[[], Mapping[str, str]]
Level = Literal["debug", "info", "warn", "error"]

RANKS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
"""The levels, numbered as the standard library does."""
_MOST_OF_A_TRACEBACK = 32_768
_OWN_FIELDS = ("module", "correlation_id", "job_id")


def make_log(
    *,
    clock: Clock,
    format: Format | None = None,
    level: Level = "info",
    stream: TextIO | None = None,
    colours: bool | None = None,
    marks: Marks | None = None,
) -> StructuredLog:
    """A log that writes to `stream` (standard error unless given).

    Without `format` it is pretty on a terminal and JSON elsewhere; without `colours` they are used on a terminal.
    `marks` are added to every line: which trace it belongs to.
    """
    stream = stream if stream is not None else sys.stderr
    terminal = _is_terminal(stream)
    format = format or ("pretty" if terminal else "json")
    render: Render = as_json if format == "json" else Pretty(colours=terminal if colours is None else colours)
    return StructuredLog(clock=clock, render=render, sink=Sink(stream), rank=RANKS[level], marks=marks)


class StructuredLog:
    """Lines with timestamp, level, module, correlation_id, job_id, message and context; never raises.

    `module`, `correlation_id` and `job_id` given by `bind` or at the call win over those of the running work. Below
    the level a call costs a comparison.
    """

    __slots__ = ("_bound", "_clock", "_marks", "_rank", "_render", "_sink")

    def __init__(
        self,
        *,
        clock: Clock,
        render: Render,
        sink: Sink,
        rank: int,
        bound: dict[str, Any] | None = None,
        marks: Marks | None = None,
    ) -> None:
        self._clock = clock
        self._render = render
        self._sink = sink
        self._rank = rank
        self._bound = bound or {}
        self._marks = marks

    def debug(self, message: str, /, **context: Any) -> None:
        """What only someone who looks for a fault wants to see."""
        self.write("debug", message, context)

    def info(self, message: str, /, **context: Any) -> None:
        """What happened."""
        self.write("info", message, context)

    def warn(self, message: str, /, **context: Any) -> None:
        """What will want attention."""
        self.write("warn", message, context)

    def error(self, message: str, /, **context: Any) -> None:
        """What failed."""
        self.write("error", message, context)

    def exception(self, message: str, /, **context: Any) -> None:
        """`error` with the traceback of the exception being handled."""
        self.write("error", message, context, error=sys.exc_info()[1])

    def bind(self, **context: Any) -> StructuredLog:
        """A log whose every line carries `context`."""
        return StructuredLog(
            clock=self._clock,
            render=self._render,
            sink=self._sink,
            rank=self._rank,
            bound={**self._bound, **context},
            marks=self._marks,
        )

    @property
    def rank(self) -> int:
        """The number of the lowest level that is written."""
        return self._rank

    def write(self, level: Level, message: str, context: dict[str, Any], *, error: BaseException | None = None) -> None:
        """Write one line unless its level is too low."""
        if RANKS[level] < self._rank:
            return
        try:
            text = self._render(self._line(level, message, context, error))
        except Exception as fault:  # noqa: BLE001 - a line that can't be shown must not end the work that it tells of
            text = as_json({"level": "ERROR", "message": f"a log line could not be shown: {type(fault).__name__}"})
        self._sink.write(text)

    def _line(self, level: Level, message: str, context: dict[str, Any], error: BaseException | None) -> Line:
        given = {**self._bound, **context} if self._bound else dict(context)
        work = current_work()
        line: Line = {
            "timestamp": self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level.upper(),
        }
        for field in _OWN_FIELDS:
            if value := given.pop(field, None) or getattr(work, field):
                line[field] = printable(str(value), most=256)
        if self._marks is not None:
            line.update(self._marks())
        line["message"] = printable(str(message))
        if given:
            line["context"] = plain_items(given)
        if error is not None:
            line["exception"] = _traceback(error)
        return line


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    if len(text) > _MOST_OF_A_TRACEBACK:  # the end says what went wrong
        text = f"… (+{len(text) - _MOST_OF_A_TRACEBACK} characters)\n{text[-_MOST_OF_A_TRACEBACK:]}"
    return printable(text, most=2 * _MOST_OF_A_TRACEBACK)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
