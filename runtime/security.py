"""How this process is known to what it connects to, and whether others can listen: in words, without any secret."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from contracts.ports.secrets import Secret
from runtime.credentials import name_in

if TYPE_CHECKING:
    from runtime.settings import Settings

ENCRYPTED = "encrypted"
IN_THE_CLEAR = "not encrypted"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The way to one part; it is `exposed` where it leaves this host and nothing encrypts it."""

    part: str
    text: str
    exposed: bool = False


def in_force(settings: Settings) -> Iterator[Way]:
    """Of all that is reached over a network."""
    if settings.mq == "kafka":
        yield _kafka(settings)
    if settings.mq == "redis-stream" and settings.mq_redis_stream_url is not None:
        files = _files(settings, "mq_redis_stream_tls")
        yield _by_url("bus", settings.mq_redis_stream_url, encrypted=("rediss", "unix"), more=files)
    if settings.cache == "redis" and settings.cache_redis_url is not None:
        yield _by_url("cache", settings.cache_redis_url, encrypted=("rediss", "unix"))
    if settings.db != "memory" and settings.db_postgres_url is not None:
        yield _postgres(settings.db_postgres_url)
    if settings.db == "cassandra":
        yield _cassandra(settings)
    if settings.secrets == "vault" and settings.secrets_vault_url is not None:
        way = f"logged in by {settings.secrets_vault_auth}"
        space = settings.secrets_vault_namespace
        more = [way, f"namespace {space}"] if space else [way]
        yield _by_url("secrets", settings.secrets_vault_url, encrypted=("https",), more=more, named=False)


def _kafka(settings: Settings) -> Way:
    protocol, mechanism = settings.mq_kafka_security_protocol, settings.mq_kafka_sasl_mechanism
    encrypted = protocol.endswith("SSL")
    said = [protocol, ENCRYPTED if encrypted else IN_THE_CLEAR]
    if protocol.startswith("SASL"):
        token = mechanism == "OAUTHBEARER"
        user = settings.mq_kafka_oauth_client_id if token else settings.mq_kafka_sasl_username
        secret = settings.mq_kafka_oauth_client_secret if token else settings.mq_kafka_sasl_password
        said += [f"{mechanism} as {user}", _origin("its secret" if token else "its password", secret)]
    else:
        said += [] if settings.mq_kafka_tls_cert_file else ["as nobody"]
    hosts = [server.rpartition(":")[0] for server in settings.mq_kafka_bootstrap_servers]
    said += _files(settings, "mq_kafka_tls")
    return Way(part="bus", text=", ".join(said), exposed=not encrypted and _leave(hosts))


def _cassandra(settings: Settings) -> Way:
    encrypted, user = settings.db_cassandra_tls, settings.db_cassandra_user
    said = ["cassandra", ENCRYPTED if encrypted else IN_THE_CLEAR, f"as {user}" if user else "as nobody"]
    if user:
        said.append(_origin("its password", settings.db_cassandra_password))
    hosts = [host.rpartition(":")[0] for host in settings.db_cassandra_hosts]
    said += _files(settings, "db_cassandra_tls")
    return Way(part="statements", text=", ".join(said), exposed=not encrypted and _leave(hosts))


def _postgres(url: Secret) -> Way:
    parts = urlsplit(url.reveal())
    # https://magicstack.github.io/asyncpg/current/api/index.html#asyncpg.connection.connect has the default.
    mode = dict(parse_qsl(parts.query)).get("sslmode", "prefer")
    surely = mode in ("require", "verify-ca", "verify-full")
    hint = [] if surely or mode == "disable" else ["encrypted only if the server offers it"]
    return _by_url("db", url, encrypted=(parts.scheme,) if surely else (), more=[f"sslmode={mode}", *hint])


def _by_url(part: str, url: Secret, *, encrypted: Sequence[str], more: Sequence[str] = (), named: bool = True) -> Way:
    parts = urlsplit(url.reveal())
    safe = parts.scheme in encrypted
    said = [parts.scheme, ENCRYPTED if safe else IN_THE_CLEAR]
    if named:
        user = unquote(parts.username or "")
        said.append(f"as {user}" if user else "as the default user" if parts.password else "as nobody")
        if parts.password:
            said.append(_origin("its password", Secret(url.reveal())))
    return Way(part=part, text=", ".join([*said, *more]), exposed=not safe and _leave([parts.hostname or ""]))


def _origin(what: str, secret: Secret | None) -> str:
    name = name_in(secret)
    return f"{what} from the secret {name}" if name else f"{what} from the settings"


def _files(settings: Settings, prefix: str) -> list[str]:
    words = {"ca_file": "authorities in", "cert_file": "known by the certificate in"}
    named = {suffix: getattr(settings, f"{prefix}_{suffix}") for suffix in words}
    return [f"{words[suffix]} {path}" for suffix, path in named.items() if path is not None]


def _leave(hosts: Sequence[str]) -> bool:
    return not all(_is_loopback(host.strip("[]")) for host in hosts)


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
