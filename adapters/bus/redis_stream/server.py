"""Where Redis is, and how connections to it are made."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
from redis.credentials import CredentialProvider

from adapters.bus.redis_stream.script import Scripts
from contracts.errors import Faults
from contracts.ports.secrets import Credential

NAME = "Redis"
DEFAULT_PORT = 6379


class ContextConnection(SSLConnection):
    """TLS as an `ssl.SSLContext` says."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}


class LookedUp(CredentialProvider):
    """A user's password as it is when a connection is made."""

    def __init__(self, user: str, password: Credential) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        raise NotImplementedError("connections of the bus are made by the event loop, which awaits the password")

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        password = (await self._password()).reveal()
        return (self._user, password) if self._user else (password,)


class Server:
    """A URL (`redis://`, `rediss://` or `unix://`) and what it says, without its secrets in any text.

    `rediss://` is TLS; its options stand in the query (`ssl_ca_certs=/path`, `ssl_certfile`, `ssl_keyfile`) unless a
    context is given. A `password` that is given apart is looked up for each connection.
    """

    def __init__(
        self,
        url: str,
        *,
        password: Credential | None = None,
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float = 5.0,
    ) -> None:
        if tls is not None and not url.startswith("rediss://"):
            raise Faults("Redis", ["a TLS context was given, but the URL is not rediss://: use rediss://"])
        self.scripts = Scripts()
        self.options: dict[str, Any] = {} if tls is None else {"connection_class": ContextConnection, "tls": tls}
        if password is not None:
            url, user = _without_user(url)
            self.options["credential_provider"] = LookedUp(user, password)
        self.url = url
        self._address = _shown(url)
        try:
            self._pool = ConnectionPool.from_url(url)
        except (ValueError, TypeError) as error:
            raise Faults("Redis", [f"the URL is not understood: {error}; use redis://host:6379/0"]) from None
        given = dict(self.options)
        self._pool.connection_class = given.pop("connection_class", self._pool.connection_class)
        # Every wait has a deadline of ours; two clocks over one read would only get in each other's way.
        self._pool.connection_kwargs |= given | {
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": connect_timeout_s,
            "socket_keepalive": True,
            "decode_responses": False,
        }

    @property
    def address(self) -> str:
        return self._address

    @property
    def hint(self) -> str:
        """For a server that does not answer the first word: one that speaks plainly waits for more of it."""
        return "; is it a port for TLS?" if self._address.startswith("rediss:") else ""

    def connection(self) -> AbstractConnection:
        """A new one, not connected."""
        made: AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        return made


def _without_user(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(parts.username or "")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        port = DEFAULT_PORT
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{port}{parts.path}"
