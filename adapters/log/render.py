"""One line of log as text: JSON for machines, pretty for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

Line = dict[str, Any]
"""timestamp, level, module, correlation_id, job_id, trace_id, span_id, message, context, exception; plain values, empty
ones left out."""
Render = Callable[[Line], str]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BEYOND_ASCII = re.compile(r"[\x7f-\x9f\u2028\u2029]")
_encoder = msgspec.json.Encoder()


def as_json(line: Line) -> str:
    """One JSON object without anything in it that some reader takes for a line break."""
    text = _encoder.encode(line).decode()
    return text if text.isascii() else _BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Pretty:
    """Aligned columns, coloured when asked for; the exception last, over several lines.

    Control characters are shown as escapes and the lines of a long message are indented, so that what is logged can't
    pass itself off as another line or steer the terminal.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._render: Callable[[Any, str, Line], Any] | None = None

    def __call__(self, line: Line) -> str:
        """The line, without the break at its end."""
        if self._render is None:
            self._render = self._make()
        shown: Line = {
            "timestamp": line["timestamp"],
            "level": line["level"].lower(),
            "event": _harmless(line["message"]).replace("\n", "\n    "),
        }
        if module := line.get("module"):
            shown["logger"] = _harmless(module)
        for key, value in line.get("context", {}).items():
            text = value if isinstance(value, str) else _encoder.encode(value).decode()
            shown[_free(_harmless(key).replace("\n", " "), shown)] = _harmless(text).replace("\n", "\\n")
        for key in ("job_id", "correlation_id", "trace_id"):
            if known := line.get(key):
                shown[_free(key, shown)] = _harmless(known)
        if exception := line.get("exception"):
            shown["exception"] = _harmless(exception)
        return str(self._render(None, "", shown))

    def _make(self) -> Callable[[Any, str, Line], Any]:
        # Imported at the first line: it brings Rich along, and processes that log JSON do without both.
        from structlog.dev import ConsoleRenderer, plain_traceback

        return ConsoleRenderer(
            colors=self._colours, sort_keys=False, pad_event_to=40, exception_formatter=plain_traceback
        )


def _harmless(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _free(key: str, taken: Line) -> str:
    """A name for a column of context that is not one of the line's own."""
    while key in taken or key in ("exception", "exc_info", "stack", "logger_name", "stack_info"):
        key += "_"
    return key
