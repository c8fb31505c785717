"""What the driver and the server raise, as the errors of `contracts.errors`.

Codes: https://cassandra.apache.org/doc/latest/cassandra/reference/native-protocol.html (section 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cassandra
from cassandra import cluster, connection, protocol

from contracts.errors import MillraceError, Permanent, Transient, Unavailable

DRIVER_ERRORS = (
    *(cassandra.DriverException, cluster.NoHostAvailable, connection.ConnectionException, protocol.ErrorMessage),
    OSError,
)
"""Everything that the driver raises on purpose (`TimeoutError` is an `OSError`)."""


def translated(error: BaseException, *, where: str) -> MillraceError:
    """`where` is the address."""
    match error:
        case cluster.NoHostAvailable():
            return Unavailable(where, _of_hosts(error))
        case cassandra.Unavailable() | cassandra.AuthenticationFailed() | cassandra.UnresolvableContactPoints():
            return Unavailable(where, _text(error))
        case protocol.OverloadedErrorMessage() | protocol.IsBootstrappingErrorMessage():
            return Unavailable(where, _text(error))
        case connection.ConnectionException() | OSError() if not isinstance(error, TimeoutError):
            return Unavailable(where, _text(error))
        case cassandra.OperationTimedOut() | TimeoutError():
            return Transient(f"{where}: a statement was not answered in time; whether it was done is unknown")
        case cassandra.RequestExecutionException() | protocol.RequestExecutionException() | protocol.ServerError():
            return Transient(_text(error))  # replicas that were too slow or failed; whether it was done is unknown
        case _:
            return Permanent(_text(error))


def is_late(error: BaseException) -> bool:
    """Nobody has answered: neither a replica nor the node that was asked."""
    return isinstance(error, cassandra.OperationTimedOut | TimeoutError)


def is_nobody_there(error: Unavailable) -> bool:
    """The driver knows no node that it would ask."""
    return isinstance(error.__cause__, cluster.NoHostAvailable)


def may_come_up(error: Unavailable) -> bool:
    """A refused password or an unknown keyspace won't get better by waiting."""
    certain = (cassandra.AuthenticationFailed, cassandra.InvalidRequest, cassandra.UnresolvableContactPoints)
    causes = [error.__cause__, *_errors(error.__cause__).values()]
    return not any(isinstance(cause, certain) for cause in causes)


def _of_hosts(error: Any) -> str:
    return "; ".join(f"{host}: {_text(why)}" for host, why in _errors(error).items()) or _text(error)


def _errors(error: Any) -> Mapping[str, BaseException]:
    found = getattr(error, "errors", None)
    return {str(host): why for host, why in found.items()} if isinstance(found, Mapping) else {}


def _text(error: Any) -> str:
    """The server's own words where it has said any."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    said = getattr(error, "message", None)
    words = said if isinstance(said, str) else str(error.args[0]) if getattr(error, "args", ()) else ""
    return " ".join(words.split()) or type(error).__name__
