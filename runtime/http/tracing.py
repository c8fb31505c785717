"""Each request as a span, which goes on with the trace of who asks."""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from contracts.ports import Traces

_NOT_TOLD = ("/health/", "/metrics")
"""What is asked every few seconds by machines."""


class TracedRequests:
    """A middleware of Litestar's: it knows the route, and so the span's name."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"].startswith(_NOT_TOLD):
            await self._app(scope, receive, send)
            return
        route = scope["path_template"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        about = {"http.request.method": scope["method"], "http.route": route}
        with self._traces.span(f"{scope['method']} {route}", kind="server", of=[headers], about=about) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note({"http.response.status_code": message["status"]})
                    if message["status"] >= 500:
                        span.fail(f"status {message['status']}")
                await send(message)

            await self._app(scope, receive, told)
