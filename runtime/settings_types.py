"""Types of settings that are more than a number or a word."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator

from contracts.file_link import SHORTEST_KEY
from contracts.ports.secrets import Secret
from contracts.redaction import HIDDEN, without_secrets

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_ORIGIN = re.compile(r"(https?)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PATH_IN_VAULT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
NAMED = "secret:"
"""Before the name of a secret that is looked up when it is needed."""

_LEVELS = {"warning": "warn", "critical": "error", "fatal": "error"}


class Form:
    """What a value looks like, for messages and documents; `secret` keeps the value out of both."""

    def __init__(self, text: str, *, secret: bool = False) -> None:
        self.text = text
        self.secret = secret


class UrlSecret(Secret):
    """A URL that may hold a password: all but that is shown in listings."""

    __slots__ = ()


def shown(value: Any) -> str:
    """A value in a listing: without secrets, and as it would be written in the environment."""
    if isinstance(value, UrlSecret):
        return without_secrets(value.reveal())
    if isinstance(value, Secret):
        return value.reveal() if value.reveal().startswith(NAMED) else HIDDEN
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return without_secrets(str(value))


def _words(value: Any) -> Any:
    return tuple(word for part in value.split(",") if (word := part.strip())) if isinstance(value, str) else value


def _names(value: Any) -> Any:
    names = _words(value)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't be the name of a module")
    return names


def _hosts(value: Any) -> Any:
    hosts = _words(value)
    for host in hosts:
        found = _HOST.fullmatch(host)
        if not found or not 0 < int(found[2]) < 65536:
            raise ValueError(f"{without_secrets(host)!r} is not HOST:PORT")
    return hosts


def _host_names(value: Any) -> Any:
    names = _words(value)
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a host name; leave its port out")
    return names


def _origins(value: Any) -> Any:
    return tuple(_origin(text) for text in _words(value))


def _origin(text: str) -> str:
    """As a browser writes it."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        hint = "name each site, since a page of any site could read then" if text == "*" else "leave its path out"
        raise ValueError(f"{without_secrets(text)!r} is not the origin of a site; {hint}")
    usual = {"https": ":443", "http": ":80"}[found[1]]
    return found[0].removesuffix(usual)


def _url(*schemes: str) -> PlainValidator:
    def check(value: Any) -> UrlSecret | None:
        text = value.reveal() if isinstance(value, Secret) else value
        if text is None:
            return None
        try:
            parts = urlsplit(text)
            port_is_fine = parts.port is None or 0 < parts.port < 65536
        except (ValueError, TypeError, AttributeError):
            raise ValueError(
                "it can't be read as a URL; escape special characters of the password (%40 for @)"
            ) from None
        if text.startswith(NAMED):
            hint = f"{schemes[0]}://USER:{NAMED}NAME@HOST"
            raise ValueError(f"a URL is written out, with the secret in the place of its password: {hint}")
        if parts.scheme not in schemes:
            # The scheme is shown only when there is one: without it this might be the password.
            came = f"its scheme is {parts.scheme!r}" if "://" in text and parts.scheme else "it has no scheme"
            raise ValueError(came)
        if not port_is_fine:
            raise ValueError("its port is not from 1 to 65535")
        if not parts.hostname and not (parts.query and "host=" in parts.query) and "postgres" not in parts.scheme:
            raise ValueError("it names no host")
        return UrlSecret(text)

    return PlainValidator(check)


def _prefix(value: Any) -> Any:
    text = value.strip("/") if isinstance(value, str) else value
    if text and any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError("it has an empty name, . or .. in it")
    return text


def _secret(value: Any) -> Secret | None:
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("it is not text")
    return Secret(value)


def _link_key(value: Any) -> Secret | None:
    key = _secret(value)
    if key is not None and not key.reveal().startswith(NAMED) and len(key.reveal()) < SHORTEST_KEY:
        raise ValueError(f"it has fewer than {SHORTEST_KEY} characters")
    return key


def _level(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _LEVELS.get(value.strip().lower(), value.strip().lower())


def _path_in_vault(value: Any) -> Any:
    if value and isinstance(value, str) and not _PATH_IN_VAULT.fullmatch(value := value.strip("/")):
        raise ValueError("it is no path in Vault")
    return value


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


BucketPrefix = Annotated[str, BeforeValidator(_prefix), Form("a path such as lake/raw")]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), Form("names with commas between them")]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts), Form("HOST:PORT, several with commas between them")]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_host_names), Form("host names with commas between them")]
Origins = Annotated[
    tuple[str, ...], BeforeValidator(_origins), Form("origins such as https://app.example, with commas between them")
]
LogLevel = Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)]
KafkaProtocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)]
CassandraConsistency = Annotated[
    Literal["ONE", "LOCAL_ONE", "TWO", "THREE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "ALL"], BeforeValidator(_upper)
]
KafkaMechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"], BeforeValidator(_upper)]
VaultPath = Annotated[str, BeforeValidator(_path_in_vault), Form("names with / between them")]
Key = Annotated[Secret | None, PlainValidator(_secret), Form("text", secret=True)]
LinkKey = Annotated[
    Secret | None,
    PlainValidator(_link_key),
    Form(f"{SHORTEST_KEY} characters or more, as `openssl rand -hex 32` makes them", secret=True),
]
PostgresUrl = Annotated[
    UrlSecret | None,
    _url("postgresql", "postgres"),
    Form("a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE", secret=True),
]
RedisUrl = Annotated[
    UrlSecret | None,
    _url("redis", "rediss", "unix"),
    Form("a URL such as redis://HOST:6379/0", secret=True),
]
WebUrl = Annotated[UrlSecret | None, _url("http", "https"), Form("a URL such as http://HOST:9000", secret=True)]
