"""The kit's services behind a proxy of one test."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from tests.kit.proxy import Proxy, Target
from tests.kit.services import Running, missing
from tests.kit.services.ports import HOST

PORTS = {"redis": 6379, "rediss": 6379, "postgresql": 5432, "postgres": 5432}


@asynccontextmanager
async def proxied(service: Running | str, *, tls: ssl.SSLContext | None = None, door: int = 0) -> AsyncIterator[Proxy]:
    """A proxy in front of a service, or of the Redis or the PostgreSQL database of a URL; its `url` is for clients.

    With `tls` clients speak TLS with the proxy, which speaks plainly with the service. Before one Kafka there is one
    proxy for each of its doors at a time, since the broker tells its clients where to find it.
    """
    if isinstance(service, Running) and service.name == "Kafka":
        proxy = _of_kafka(service, tls, door)
    else:
        proxy = _of_url(service if isinstance(service, str) else service.url, tls)
    async with proxy:
        yield proxy


def _of_kafka(kafka: Running, tls: ssl.SSLContext | None, door: int) -> Proxy:
    if not kafka.doors:
        remedy = "Unset MILLRACE_TEST_KAFKA, so that the test kit's own broker is used."
        missing("Kafka behind a proxy", reason=f"{kafka.how} advertises no proxy", remedy=remedy)
    opened = kafka.doors[door]
    proxy = Proxy((kafka.url.rpartition(":")[0], opened.behind), port=opened.advertised, tls=tls)
    proxy.url = f"{HOST}:{proxy.port}"
    return proxy


def _of_url(url: str, tls: ssl.SSLContext | None) -> Proxy:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    # A PostgreSQL on a unix socket has its directory in the query.
    directory = query.pop("host", None)
    port = parts.port or PORTS[parts.scheme]
    target: Target = Path(directory) / f".s.PGSQL.{port}" if directory else (parts.hostname or HOST, port)
    proxy = Proxy(target, tls=tls)
    proxy.url = urlunsplit(
        parts._replace(scheme=_scheme(parts, tls), netloc=_place(parts, proxy), query=urlencode(query))
    )
    return proxy


def _scheme(parts: SplitResult, tls: ssl.SSLContext | None) -> str:
    return "rediss" if tls and parts.scheme == "redis" else parts.scheme


def _place(parts: SplitResult, proxy: Proxy) -> str:
    user, at, _ = parts.netloc.rpartition("@")
    return f"{user}{at}{HOST}:{proxy.port}"
