"""Where a PostgreSQL server is and how to log in to it, printed without what is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from contracts.errors import Faults
from contracts.ports.secrets import Secret

SCHEMES = ("postgresql", "postgres")
OURS = ("statement_cache_size",)
"""Query parameters that are for the client; every other one goes to the driver, then to the server."""
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d{1,5}))?")


class Address:
    """What the driver is given, and what people are shown.

    `url` is a `postgresql://user:password@host:port/database?sslmode=…&application_name=…` URL (several hosts and
    unix sockets, `?host=/run/postgresql`, as libpq has them). `statement_cache_size=0` in it is for PgBouncer in
    transaction mode. Raises `Faults` for one that isn't. No part of it is ever printed but hosts and database.
    """

    __slots__ = ("_options", "shown", "statement_cache_size")

    def __init__(self, options: Mapping[str, Any], *, shown: str, statement_cache_size: int | None = None) -> None:
        self._options = dict(options)
        self.shown = shown
        self.statement_cache_size = statement_cache_size

    @classmethod
    def of_url(cls, url: str | Secret) -> Address:
        text = url.reveal() if isinstance(url, Secret) else url
        try:
            parts = urlsplit(text)
        except ValueError:  # its words would repeat the password
            raise Faults("database URL", ["it can't be taken apart; in a password write other signs as %XX"]) from None
        query = parse_qsl(parts.query, keep_blank_values=True)
        if faults := list(_faults(text, parts, dict(query))):
            raise Faults("database URL", faults)
        cache = dict(query).get("statement_cache_size")
        passed_on = urlencode([(key, value) for key, value in query if key not in OURS])
        return cls(
            {"dsn": Secret(urlunsplit(parts._replace(query=passed_on)))},
            shown=_shown(parts, dict(query)),
            statement_cache_size=int(cache) if cache else None,
        )

    def reveal(self) -> dict[str, Any]:
        """The driver's arguments, with the secrets in them."""
        return {key: value.reveal() if isinstance(value, Secret) else value for key, value in self._options.items()}

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def _faults(text: str, parts: SplitResult, query: Mapping[str, str]) -> Iterator[str]:
    """What is wrong, without repeating what may be a part of a password."""
    if parts.scheme not in SCHEMES:
        came = f'"{parts.scheme}://"' if "://" in text else "no scheme"
        yield f"{came}; expected postgresql://user:password@host:5432/database"
        return
    _, at, hosts = parts.netloc.rpartition("@")
    if not at and "@" in text:
        yield 'there is an "@" outside of its place; in a password write / as %2F, ? as %3F, # as %23 and @ as %40'
        return
    for host in filter(None, hosts.split(",")):
        if (match := _HOST.fullmatch(host)) is None or int(match.group(1) or 1) not in range(1, 65536):
            yield "a host is not host:port with a port from 1 to 65535"
    if not query.get("statement_cache_size", "0").isdecimal():
        yield f"statement_cache_size={query['statement_cache_size']}; expected a whole number, 0 for PgBouncer"
    if (mode := query.get("sslmode")) is not None and mode not in SSL_MODES:
        yield f"sslmode={mode}; expected one of {', '.join(SSL_MODES)}"


def _shown(parts: SplitResult, query: Mapping[str, str]) -> str:
    hosts = parts.netloc.rpartition("@")[2]
    database = unquote(parts.path.lstrip("/")) or query.get("dbname", "")
    if hosts:
        return f"postgresql://{unquote(hosts)}/{database}"
    return f"postgresql:///{database}?host={query['host']}" if "host" in query else f"postgresql:///{database}"
