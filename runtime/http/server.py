"""The server as a component of the worker: uvicorn inside our event loop, under our signals, log and deadline."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from contracts.errors import Faults
from contracts.ports import Secret
from runtime.http.admission import Rules
from runtime.http.keyring import Keyring
from runtime.http.listen import BACKLOG, bound, is_loopback, url_of
from runtime.http.site import Site
from runtime.tasks import Tasks

if TYPE_CHECKING:
    import uvicorn

    from runtime.worker import Worker

GRACE_S = 3
"""How long requests that are being answered may go on after `stop`."""
KEEP_ALIVE_S = 15
CONNECTIONS = 512
"""Above this, 503: a bound on what strangers can make this process hold."""


class HttpServer:
    """`start` takes the address at once; connections wait for the moment until they are served. A server that breaks
    later ends the process: one that nobody can ask for its health is of no use."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tasks = Tasks()
        self._sockets: list[socket.socket] = []
        self.server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address = ""
        self.keyring: Keyring | None = None
        self._rules: Rules | None = None
        self.site: Site | None = None

    async def start(self) -> None:
        """Raises `Faults` when a port is taken or the token can't be one, before anything else is started."""
        token = await self._token()
        try:
            main, metrics_port = self._listen()
        except Faults:
            self._close_sockets()
            raise
        self.address = url_of(main)
        self._rules = Rules(
            token=token, on_loopback=is_loopback(_host_of(main)), hosts=self._names(), metrics_port=metrics_port
        )
        self.keyring = Keyring(self._worker.adapters.api_keys, self._worker.clock, self._worker.log)
        self.site = Site(self._worker)
        self._serving = self._tasks.start(self._serve(self.site, self._rules, self.keyring), name="http")
        self._serving.add_done_callback(self._ended)

    async def tell_who_may_ask(self) -> None:
        """Once, when the keys can be read: that nobody else is answered should surprise nobody."""
        if self._rules is None or self.keyring is None or self._rules.token is not None:
            return
        known = await self.keyring.known()
        if known is not None and not known.guards:
            self._worker.log.info(
                "http answers this machine only, but for health and metrics, until there is an API key: "
                "make one with `millrace keys create`"
            )

    async def stop(self) -> None:
        """No new connections; requests that are being answered get `GRACE_S`. Idempotent."""
        serving, self._serving = self._serving, None
        try:
            if serving and self.server:
                self.server.should_exit = True
                async with self._worker.clock.timeout(GRACE_S + 1.0):
                    await asyncio.wait([serving])
        except TimeoutError:
            self._worker.log.warn("http did not end in time; its connections are cut")
        finally:
            await self._tasks.stop()
            self._cut_connections()
            self._close_sockets()

    async def _serve(self, site: Site, rules: Rules, keyring: Keyring) -> None:
        # Half a second of imports, in a thread: they must not hold up the first jobs, nor what else is being opened.
        self.server = await asyncio.to_thread(_made, site, rules, keyring)
        await self.server.serve(sockets=self._sockets)

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if serving.cancelled() or serving is not self._serving:
            return
        error = serving.exception()
        self._worker.log.error("http broke", error=repr(error))
        self._worker.supervisor.stop("http broke", failed=True)

    async def _token(self) -> Secret | None:
        await self._worker.adapters.open("secrets")
        token = await self._worker.adapters.secrets.get("HTTP_TOKEN")
        if token is not None and not token.reveal().strip():
            raise Faults("http", ["the secret HTTP_TOKEN is empty; give it a value, or take it away"])
        return token

    def _listen(self) -> tuple[socket.socket, int | None]:
        """The main socket, and the port of the one that is for metrics alone, where there is one."""
        settings = self._worker.settings
        main = bound(settings.http_host, settings.http_port, setting="HTTP_PORT")
        self._sockets.append(main)
        port = settings.metrics_prometheus_port
        if port is None or port == _port_of(main):
            return main, None
        self._sockets.append(bound(settings.http_host, port, setting="METRICS_PROMETHEUS_PORT"))
        return main, port

    def _names(self) -> frozenset[str]:
        settings = self._worker.settings
        names = ["localhost", settings.http_host, socket.gethostname(), *settings.http_allowed_hosts]
        return frozenset(name.lower() for name in names)

    def _cut_connections(self) -> None:
        if self.server is None:
            return
        for listener in getattr(self.server, "servers", ()):
            listener.close()
        for connection in tuple(self.server.server_state.connections):
            connection.transport.abort()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()


def _host_of(listening: socket.socket) -> str:
    return str(listening.getsockname()[0])


def _port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _made(site: Site, rules: Rules, keyring: Keyring) -> uvicorn.Server:
    import logging

    import uvicorn

    from runtime.http.application import application
    from runtime.http.protocol import BoundedHttp

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Signals are the supervisor's."""
            yield

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        application(site, rules, keyring),
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # Never: the peer is who the socket says it is.
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    return Server(config)
