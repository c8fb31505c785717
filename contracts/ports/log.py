"""Structured lines. The correlation id, job id and module of the running work are added by themselves."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A line for each call; never raises, whatever the context holds."""

    def debug(self, message: str, /, **context: Any) -> None: ...

    def info(self, message: str, /, **context: Any) -> None: ...

    def warn(self, message: str, /, **context: Any) -> None: ...

    def error(self, message: str, /, **context: Any) -> None: ...

    def exception(self, message: str, /, **context: Any) -> None:
        """`error` with the traceback of the exception being handled."""
        ...

    def bind(self, **context: Any) -> Log:
        """A log whose every line carries `context`."""
        ...
