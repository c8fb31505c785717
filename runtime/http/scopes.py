"""What each path needs of whoever asks: a handler says it as `opt={"scope": …}`, and one that doesn't needs `admin`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from contracts.api_key import ADMIN, Caller
from contracts.http import Refused

PUBLIC = "public"
"""Health and metrics, for which nobody has to say who they are."""
LINK = "link"
"""Files by link: the signature is looked at where they are served."""
COMMAND = "run:JOB or publish:ADDRESS"
_JOB = "run."


def needed(said: str, parameters: Mapping[str, Any]) -> str:
    """The scope, by what the handler says and the parameters of the path."""
    if said != COMMAND:
        return said
    address = str(parameters["address"])
    return f"run:{address.removeprefix(_JOB)}" if address.startswith(_JOB) else f"publish:{address}"


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises `Refused` (403) unless the caller may. It awaits nothing, and must be `async`: Litestar would run a plain
    function in a thread."""
    scope = needed(handler.opt.get("scope", ADMIN), connection.path_params)
    if scope in (PUBLIC, LINK):
        return
    caller: Caller = connection.scope["state"]["caller"]
    if not caller.may(scope):
        raise Refused(
            403,
            f"the key {caller.name!r} may not ask this: it needs the scope {scope}",
            [f"it has {', '.join(caller.scopes)}; make another one with `millrace keys create --scope {scope}`"],
        )
