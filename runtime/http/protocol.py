"""HTTP/1.1 as llhttp parses it, in C, with bounds on what comes before a request is one: uvicorn would keep all of it,
and wait for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
"""Of a request's line and headers, of trailers, and of what stands between chunks."""
HEAD_TIMEOUT_S = 15.0
"""From the connection, or the first byte of a request, to the end of its headers."""


class BoundedHttp(HttpToolsProtocol):
    """What is longer is answered with 400, and its connection closed; what is later is closed."""

    _since_parsed = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._parsed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._since_parsed += len(data)
        super().data_received(data)
        if not self._since_parsed or self.transport.is_closing():
            return
        if self._since_parsed > HEAD_BYTES:
            self.send_400_response(f"The head of a request may have {HEAD_BYTES} bytes.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def on_headers_complete(self) -> None:
        self._parsed()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._parsed()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._parsed()
        super().on_message_complete()

    def _parsed(self) -> None:
        """Something is done with what came so far."""
        self._since_parsed = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
