"""The body of one request: read whole, within bounds of size and time, or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from contracts.ports import Clock
from runtime.http.admission import SAFE, Asked, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 10.0
DISCARD_BYTES = 4 << 20
DISCARD_TIMEOUT_S = 2.0
"""So much of a refused body is still read: who is busy sending would else find a broken connection, not the answer."""


class Body:
    """Whoever refuses the request calls `discard` before the answer."""

    def __init__(self, asked: Asked, receive: Receive, clock: Clock) -> None:
        self._asked = asked
        self._receive = receive
        self._clock = clock
        # A client that waits to be told to go on has nothing on its way.
        self._ended = asked.method in SAFE or "expect" in asked.headers

    async def read(self) -> bytes | Refusal:
        """All of it; a request that only reads has none."""
        if self._asked.method in SAFE:
            return b""
        declared = self._asked.headers.get("content-length", ("0",))[0]
        if declared.isdecimal() and int(declared[:12]) > BODY_BYTES:
            return _too_large()
        body = bytearray()
        self._ended = False
        try:
            async with self._clock.timeout(BODY_TIMEOUT_S):
                while (part := await self._next()) is not None:
                    body += part
                    if len(body) > BODY_BYTES:
                        return _too_large()
                    if self._ended:
                        return bytes(body)
        except TimeoutError:
            self._ended = True
            return Refusal(status=408, error=f"the body did not arrive within {BODY_TIMEOUT_S:g} s")
        return Refusal(status=400, error="the body ended early")

    async def discard(self) -> None:
        """Read on, for a moment, what nobody wants."""
        left = DISCARD_BYTES
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(DISCARD_TIMEOUT_S):
                while left > 0 and not self._ended:
                    left -= len(await self._next() or b"")

    async def _next(self) -> bytes | None:
        """The next part; None when the client is gone."""
        message = await self._receive()
        if message["type"] != "http.request":
            self._ended = True
            return None
        self._ended = not message.get("more_body")
        part: bytes = message.get("body", b"")
        return part


def replayed(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes (a disconnect)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_large() -> Refusal:
    return Refusal(status=413, error=f"the body may have {BODY_BYTES} bytes")
