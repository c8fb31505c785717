"""What modules answer themselves: each of their paths as a handler of the application.

What they answer is sent as plain ASGI: a long answer goes out as it is made, and ends when its reader leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import anyio
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from contracts.errors import Unavailable
from contracts.http import HttpAnswer, HttpRequest, HttpRoute, Parts, Refused
from contracts.logging_context import work
from contracts.module import Module
from runtime.injection import place_of_http
from runtime.policy.drain import Phase

if TYPE_CHECKING:
    from runtime.worker import Worker

MOST_PARAMETERS = 200
_Send = Callable[[Any], Awaitable[None]]
_Receive = Callable[[], Awaitable[Any]]


def handlers_of(worker: Worker) -> list[HTTPRouteHandler]:
    """For every path of the worker's modules."""
    return [_handler(worker, module, route) for module in worker.modules for route in module.http_routes]


def paths_of(worker: Worker) -> tuple[str, ...]:
    """What their paths begin with."""
    return tuple(route.path.partition("{")[0] for module in worker.modules for route in module.http_routes)


def longer_of(worker: Worker) -> dict[str, float]:
    """By path, in seconds, how long answers may take; paths with a last part of any form have the usual time."""
    return {route.path: route.timeout_s for module in worker.modules for route in module.http_routes}


def _handler(worker: Worker, module: Module, route: HttpRoute) -> HTTPRouteHandler:
    needs = worker.needs[module.name, place_of_http(route)]
    ports = {**needs.per_process, **needs.per_work}
    fixed = route.path.partition("{")[0]

    async def answer(request: Request) -> ASGIApp:  # type: ignore[type-arg]
        if worker.supervisor.phase not in (Phase.RUNNING, Phase.DRAINING):
            raise Unavailable("this worker", f"it is {worker.supervisor.phase.name.lower()}")
        adapters = {parameter: getattr(worker.adapters, port) for parameter, port in ports.items()}
        with work(module=module.name):
            given = await route.handler(_request(request.scope, fixed), **adapters)
        return _sent(given)

    return get(f"{fixed}{{rest:path}}" if "{" in route.path else route.path, opt={"scope": route.scope})(answer)


def _request(scope: Mapping[str, Any], fixed: str) -> HttpRequest:
    raw = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        told, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[told] = f"{headers[told]}, {text}" if told in headers else text
    # What stands before it may be encoded as well: it is told by its parts, not by its length.
    rest = raw.split("/", fixed.count("/"))[-1]
    return HttpRequest(path=raw, rest=rest, query=_query(scope["query_string"]), headers=headers)


def _query(raw: bytes) -> tuple[tuple[str, str], ...]:
    try:
        text = raw.decode("ascii")
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS))
    except ValueError as error:
        told = (
            "is not UTF-8, percent-encoded" if isinstance(error, UnicodeError) else f"has over {MOST_PARAMETERS} parts"
        )
        raise Refused(400, f"the query string {told}") from None


def _sent(answer: HttpAnswer) -> ASGIApp:
    """The answer as what sends it."""

    async def sending(scope: Any, receive: Any, send: Any) -> None:
        if isinstance(answer.body, bytes):
            length = {} if answer.status == 304 else {"Content-Length": str(len(answer.body))}
            await send(_start(answer, length))
            await send({"type": "http.response.body", "body": answer.body})
        else:
            await _send_parts(answer, answer.body, receive, send, head=scope["state"]["head"])

    return sending


async def _send_parts(answer: HttpAnswer, parts: Parts, receive: _Receive, send: _Send, *, head: bool) -> None:
    """The first part is made before anything is sent: what goes wrong until then is told as it should be. What goes
    wrong later leaves the answer without its end, by which its reader knows."""
    async with aclosing(parts):
        first = await anext(parts, b"")
        await send(_start(answer, {}))
        if head:
            await send({"type": "http.response.body", "body": b""})
            return
        async with anyio.create_task_group() as group:
            group.start_soon(_leave_with_reader, receive, group.cancel_scope)
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            group.cancel_scope.cancel()


async def _leave_with_reader(receive: _Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _start(answer: HttpAnswer, more: Mapping[str, str]) -> dict[str, Any]:
    given = {"Content-Type": answer.media_type, **answer.headers, **more}
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}
