"""An HTTP server on loopback whose answers are made by a function: for services that can't be had here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, Mapping[str, str]]
"""Status, what is sent as JSON (None: nothing), more headers."""
Answering = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Of method, path, headers and body; it is called in other threads, one at a time."""


class Answerer:
    """Listens from its making until `end`; `stop` and `start` in between refuse connections at the same port."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._turn = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="answerer", daemon=True).start()

    def stop(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    end = stop

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answering, turn = self._answering, self._turn

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                named = {name.title(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with turn:
                    status, said, more = answering(self.command, self.path, named, body)
                content = b"" if said is None else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: whoever wants to know keeps it."""

        return Handler
