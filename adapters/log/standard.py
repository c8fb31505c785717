"""The standard library's records, those of the packages that we stand on, in our stream and form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from adapters.log.structured import Level, StructuredLog

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_WITH_HANDLERS_OF_THEIR_OWN = ("faststream", "uvicorn")
_TALKATIVE = "aiokafka"
"""Each step of each group's rebalance is a line for it: they are for who looks for a fault there, at `debug`."""

AGAIN_S = 5.0
MOST_TOLD = 1000


def route_standard_logging(log: StructuredLog) -> Callable[[], None]:
    """Send every record of the `logging` module (and warnings) through `log`; returns what undoes it.

    Handlers that are on the root logger and on those of FastStream and uvicorn are taken off, else each line would
    come twice; so call it after both were imported. Levels that loggers have of their own are kept.
    """
    root = logging.getLogger()
    talkative = logging.getLogger(_TALKATIVE)
    kept = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in (*_loggers(), talkative)]
    for logger in _loggers():
        logger.handlers[:] = []
        logger.propagate = True
    if talkative.level == logging.NOTSET and log.rank > logging.DEBUG:
        talkative.setLevel(logging.WARNING)
    handler = _Records(log)
    root.addHandler(handler)
    root.setLevel(log.rank)
    logging.captureWarnings(True)

    def undo() -> None:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        for logger, handlers, propagate, level in kept:
            logger.handlers[:] = handlers
            logger.propagate = propagate
            logger.setLevel(level)

    return undo


def _loggers() -> list[logging.Logger]:
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _WITH_HANDLERS_OF_THEIR_OWN]
    return [logging.getLogger(), *(logging.getLogger(name) for name in names)]


class _Records(logging.Handler):
    """A package that says the same again and again (that a server does not answer, say) is heard once in a while."""

    def __init__(self, log: StructuredLog) -> None:
        super().__init__()
        self._log = log
        self._told: dict[tuple[str, int, str], list[float]] = {}

    def _left_out(self, record: logging.LogRecord) -> float | None:
        """How many like it were left out since the last one; None: leave this one out as well."""
        if record.levelno < logging.WARNING or record.name.startswith("millrace"):
            return 0
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        told = self._told.setdefault((record.name, record.levelno, str(record.msg)), [0.0, 0])
        if record.created - told[0] < AGAIN_S:
            told[1] += 1
            return None
        left_out, told[:] = told[1], [record.created, 0]
        return left_out

    def emit(self, record: logging.LogRecord) -> None:
        if (left_out := self._left_out(record)) is None:
            return
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - its arguments don't fit its text; show both
            message = f"{record.msg} {record.args!r}"
        context: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        context["logger"] = record.name
        if left_out:
            context["left_out"] = int(left_out)
        error = record.exc_info[1] if record.exc_info else None
        self._log.write(_level(record.levelno), message, context, error=error)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"
