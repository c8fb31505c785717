"""What stands before the application: who may ask, how much, how long, and what every answer carries.

It is plain ASGI, so that no request reaches Litestar's parsing before it is admitted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from contracts.api_key import VIEW, Caller
from contracts.logging_context import work as about
from contracts.ports import Clock, Log
from runtime.commands import kept
from runtime.http import admission
from runtime.http.admission import Asked, Refusal, Rules
from runtime.http.body import Body, Message, Receive, replayed
from runtime.http.cors import Cors, Raw
from runtime.http.keyring import Keyring
from runtime.http.problem import PROBLEM, problem

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_TIMEOUT_S = 30.0
DOWNLOAD_TIMEOUT_S = 3600.0
"""A file may take longer, as long as its reader takes some of it within `REQUEST_TIMEOUT_S`."""

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_SOURCES = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Gate:
    """An ASGI application around another one. Every answer of its own is a problem of RFC 9457. `longer` are the paths
    whose answers may take longer than others, in seconds."""

    def __init__(
        self,
        app: App,
        rules: Rules,
        clock: Clock,
        log: Log,
        *,
        keyring: Keyring,
        longer: Mapping[str, float] | None = None,
        cors: Cors | None = None,
    ) -> None:
        self._app = app
        self._rules = rules
        self._keyring = keyring
        self._longer = longer or {}
        self._cors = cors or Cors()
        self._clock = clock
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"this server speaks HTTP only, not {scope['type']}")
        asked = _asked(scope)
        given = asked.headers.get("x-correlation-id", ("",))[0]
        correlation_id = kept(given) or self._clock.new_id()
        answer = _Answer(send, correlation_id, self._clock, self._cors.told(asked))
        began_at = self._clock.monotonic()
        with about(correlation_id=correlation_id):
            caller = await self._answered(scope, receive, answer, asked, correlation_id)
            self._tell(asked, answer.status, self._clock.monotonic() - began_at, caller)

    async def _answered(
        self, scope: Scope, receive: Receive, answer: _Answer, asked: Asked, correlation_id: str
    ) -> Caller:
        """Who it was that asked."""
        caller = admission.ANYONE
        if (allowed := self._cors.preflight(asked)) is not None:
            await answer.allow(allowed)
            return caller
        timeout_s = DOWNLOAD_TIMEOUT_S if admission.by_link(asked) else self._longer.get(asked.path, REQUEST_TIMEOUT_S)
        try:
            async with self._clock.timeout(timeout_s):
                body = Body(asked, receive, self._clock)
                admitted = await self._admitted(scope, asked)
                caller = admitted if isinstance(admitted, Caller) else caller
                taken = admitted if isinstance(admitted, Refusal) else await body.read()
                if isinstance(taken, Refusal):
                    await body.discard()
                    await answer.refuse(taken)
                    return caller
                state = {
                    "correlation_id": correlation_id,
                    "caller": caller,
                    "sees_all": self._sees_all(asked, caller),
                    "head": asked.method == "HEAD",
                }
                inner = {**scope, "method": "GET" if asked.method == "HEAD" else asked.method, "state": state}
                await self._app(inner, replayed(taken, receive), answer)
        except TimeoutError:
            await answer.fail(503, f"no answer within {timeout_s:g} s; try again", {"Retry-After": "5"})
        except Exception:  # noqa: BLE001 - the outermost frame of a request: it must be told, and must not be shown
            self._log.exception("a request broke", method=asked.method, path=asked.path[:200])
            await answer.fail(500, f"this is a fault of the server; its log has more under {correlation_id}")
        return caller

    def _sees_all(self, asked: Asked, caller: Caller) -> bool:
        """Whoever had to say who they are is known already."""
        if caller is not admission.ANYONE:
            return caller.may(VIEW)
        return admission.may_see_all(self._rules, asked, self._keyring.last)

    async def _admitted(self, scope: Scope, asked: Asked) -> Caller | Refusal:
        # PostgreSQL can't keep a NUL, so nothing has one in its name: better said here than by the database.
        if "\x00" in asked.path or b"%00" in scope.get("query_string", b""):
            return Refusal(status=400, error="no path and no parameter may have a NUL character")
        # Probes and scrapes never wait for the database, nor does a link, which needs no key.
        asks_for_none = asked.path in admission.PUBLIC or admission.by_link(asked)
        keys = self._keyring.last if asks_for_none else await self._keyring.known()
        return admission.admit(self._rules, asked, keys)

    def _tell(self, asked: Asked, status: int, took_s: float, caller: Caller) -> None:
        # Probes and scrapes come every few seconds: they are not worth a line each.
        say = self._log.debug if asked.path in admission.PUBLIC else self._log.info
        took_ms = round(took_s * 1000, 1)
        say("request", method=asked.method, path=asked.path[:200], status=status, ms=took_ms, caller=caller.name)


class _Answer:
    """`send` with the headers that every answer carries; knows what was sent."""

    def __init__(self, send: Send, correlation_id: str, clock: Clock, shared: Raw) -> None:
        self._send = send
        self._clock = clock
        self._shared = shared
        self._own = (*_ALWAYS, (b"x-correlation-id", correlation_id.encode()))
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._headers(list(message.get("headers", ())))}
        async with self._clock.timeout(REQUEST_TIMEOUT_S):
            await self._send(message)

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in headers}
        return [*headers, *self._shared, *(one for one in (*self._own, _NO_SOURCES) if one[0] not in given)]

    async def allow(self, headers: Raw) -> None:
        """Nothing but headers."""
        await self({"type": "http.response.start", "status": 204, "headers": headers})
        await self({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: Refusal) -> None:
        body = msgspec.json.encode(problem(refusal.status, refusal.error))
        headers = {"Content-Type": PROBLEM, "Content-Length": str(len(body)), **refusal.headers}
        if refusal.status in (400, 408, 413):
            # The rest of the body is still on its way: this connection can't be used again.
            headers["Connection"] = "close"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await self({"type": "http.response.body", "body": body})

    async def fail(self, status: int, error: str, headers: dict[str, str] | None = None) -> None:
        """Nothing can be said any more once the answer has begun."""
        if not self.status:
            await self.refuse(Refusal(status=status, error=error, headers=headers or {}))


def _asked(scope: Scope) -> Asked:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    peer, local = scope.get("client"), scope.get("server")
    return Asked(
        method=scope["method"],
        path=scope["path"],
        peer=peer[0] if peer else None,
        local=local[0] if local else None,
        local_port=local[1] if local else None,
        headers=headers,
    )
