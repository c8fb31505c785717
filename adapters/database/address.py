"""Where a PostgreSQL server is and how to log in to it, printed without what is secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from contracts.errors import Faults
from contracts.ports.secrets import Secret

SCHEMES = ("postgresql", "postgres")
OURS = ("statement_cache_size",)
"""Query parameters that are for the client; every other one goes to the driver, then to the server."""


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
        parts = urlsplit(text)
        if parts.scheme not in SCHEMES:
            # Without a scheme a password may stand anywhere in the text, so nothing of it is repeated.
            came = f'"{parts.scheme}://"' if "://" in text else "no scheme"
            raise Faults("database URL", [f"{came}; expected postgresql://user:password@host:5432/database"])
        query = parse_qsl(parts.query, keep_blank_values=True)
        cache = _whole_number(dict(query).get("statement_cache_size"))
        passed_on = urlencode([(key, value) for key, value in query if key not in OURS])
        hosts = parts.netloc.rpartition("@")[2] or dict(query).get("host", "") or "the default host"
        database = unquote(parts.path.lstrip("/")) or dict(query).get("dbname", "")
        return cls(
            {"dsn": Secret(urlunsplit(parts._replace(query=passed_on)))},
            shown=f"postgresql://{unquote(hosts)}/{database}",
            statement_cache_size=cache,
        )

    def reveal(self) -> dict[str, Any]:
        """The driver's arguments, with the secrets in them."""
        return {key: value.reveal() if isinstance(value, Secret) else value for key, value in self._options.items()}

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def _whole_number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise Faults("database URL", [f"statement_cache_size={text}; expected a whole number, 0 for PgBouncer"])
    return int(text)
