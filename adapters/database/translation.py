"""What asyncpg and the server raise, as the errors of `contracts.errors`.

SQLSTATE classes: https://www.postgresql.org/docs/18/errcodes-appendix.html
"""

from __future__ import annotations

from typing import Any

import asyncpg

from contracts.errors import BadInput, MillraceError, Permanent, Transient, Unavailable

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that a call of the driver raises on purpose (`TimeoutError` is an `OSError`)."""

_DOWN = (
    "08",  # connection exceptions
    "53",  # no memory, disk or connections left
    "57P",  # the server is stopping, starting or crashing
    "58",  # the server's own I/O errors
)
_AGAIN = (
    "25006",  # a standby: the primary moved
    "25P03",  # idle for too long in a transaction
    "40",  # serialization failure, deadlock
    "55P03",  # a lock that is not to be had now
    "55006",  # an object in use
    "57014",  # cancelled by the server's own timeout
    "XX",  # internal errors
)
_INPUT = ("22", "23")
"""Data exceptions and violated constraints."""


def is_lost(raw: Any) -> bool:
    """Whether a connection has ended. A pool takes its proxy away as soon as it notices, and then it only raises."""
    try:
        return bool(raw.is_closed())
    except asyncpg.InterfaceError:
        return True


def translated(error: BaseException, *, where: str, closed: bool = False) -> MillraceError:
    """`where` is the address; `closed` says that the connection is gone, whatever the driver's words are."""
    match error:
        case MillraceError():
            return error
        case TimeoutError():
            return Transient(f"{where}: a statement did not end in time and was cancelled")
        case OSError():
            return Unavailable(where, _reason(error))
        case asyncpg.PostgresError():
            return _of_server(error, where=where)
        case asyncpg.exceptions.OutdatedSchemaCacheError():
            return Transient(_text(error))
        case asyncpg.InterfaceError() if not closed:
            return Permanent(_text(error))
        case _:
            return Unavailable(where, _text(error)) if closed else Transient(_text(error))


def refused_copy(error: BaseException, *, where: str, closed: bool = False) -> MillraceError:
    """For COPY: what the server says about the data, with its line and column, is `BadInput`."""
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_INPUT):
        return BadInput(_text(error))
    return translated(error, where=where, closed=closed)


def _of_server(error: asyncpg.PostgresError, *, where: str) -> MillraceError:
    code = error.sqlstate or ""
    if code.startswith(_DOWN):
        return Unavailable(where, _text(error))
    if code.startswith(_AGAIN) or isinstance(error, asyncpg.InvalidCachedStatementError):
        return Transient(_text(error))
    return Permanent(_text(error))


def _text(error: BaseException) -> str:
    """The message with the server's detail, hint and, for COPY, place."""
    parts = [str(error.args[0]) if error.args else type(error).__name__]
    if code := getattr(error, "sqlstate", None):
        parts[0] += f" (SQLSTATE {code})"
    more = {label: getattr(error, label, None) for label in ("detail", "hint", "context")}
    parts.extend(f"{label}: {' '.join(str(said).split())}" for label, said in more.items() if said)
    return "; ".join(parts)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
