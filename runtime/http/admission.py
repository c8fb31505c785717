"""Who may ask what: a pure decision about one request, before any of its body is read.

Health and metrics answer to anyone; a link to a file is right or wrong by its own signature. Everything else answers
on loopback only, until an API key is made or a token is set; then it answers to the bearer of one, within the key's
scopes. A web page that a person of this machine looks at must not be able to ask anything: `Host` is checked (it could
have its own name lead here), and what changes something takes JSON from no other origin.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from contracts.api_key import ADMIN, VIEW, Caller
from contracts.file_link import PLACE as LINKED_FILES
from contracts.ports import Secret
from runtime.http.listen import is_loopback

PUBLIC = frozenset({"/metrics", "/health/live", "/health/ready", "/health/startup"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A proxy on this machine lends its loopback address to anybody: its marks are never trusted to open, only to close.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

Headers = Mapping[str, Sequence[str]]
"""By lower-case name."""


class Keys(Protocol):
    """The API keys that are known."""

    @property
    def guards(self) -> bool:
        """Whether one was ever made."""
        ...

    def caller(self, given: str) -> Caller | None:
        """Whose key this is; None when it is nobody's."""
        ...


ANYONE = Caller("anyone")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while the server runs. `hosts` are names (lower case, without port) that lead here."""

    token: Secret | None
    on_loopback: bool
    """Every address that is listened on is this machine's own."""
    hosts: frozenset[str] = frozenset()
    metrics_port: int | None = None
    """A port on which nothing but health and metrics answers."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `peer` and `local` are addresses of the socket; headers have no say in them."""

    method: str
    path: str
    peer: str | None
    local: str | None
    local_port: int | None
    headers: Headers


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why not, and what to do."""

    status: int
    error: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


def admit(rules: Rules, asked: Asked, keys: Keys | None) -> Caller | Refusal:
    """Who asks, or why that may not go on. `keys` are None while they can't be known."""
    public = asked.path in PUBLIC
    if asked.local_port == rules.metrics_port and rules.metrics_port is not None and not public:
        return Refusal(status=404, error="this port has /metrics and /health only")
    open_to_all = public or by_link(asked)
    if not (open_to_all and not is_near(rules, asked)) and (refusal := _host_refusal(rules, asked)):
        return refusal
    if open_to_all:
        return ANYONE
    caller = caller_of(rules, asked, keys)
    if isinstance(caller, Refusal) or asked.method in SAFE:
        return caller
    return _write_refusal(asked) or caller


def by_link(asked: Asked) -> bool:
    """Whether it reads a file by a link, whose signature is looked at where it is served."""
    return asked.path.startswith(LINKED_FILES) and asked.method in SAFE


def is_near(rules: Rules, asked: Asked) -> bool:
    """Whether it comes from this machine, by a server that only this machine can reach."""
    return rules.on_loopback and is_loopback(asked.peer) and not any(name in asked.headers for name in FORWARDED)


def may_see_all(rules: Rules, asked: Asked, keys: Keys | None) -> bool:
    """Whether details (addresses, faults of adapters) may be told."""
    caller = caller_of(rules, asked, keys)
    return isinstance(caller, Caller) and caller.may(VIEW)


def caller_of(rules: Rules, asked: Asked, keys: Keys | None) -> Caller | Refusal:
    """By what it was given: the token, a key, or nothing on a machine where neither is there."""
    given = _credential(asked)
    if given and rules.token is not None and _same(given, rules.token.reveal()):
        return Caller("token", (ADMIN,))
    if keys is None:
        why = "who may ask can't be known while the API keys can't be read; try again"
        return Refusal(status=503, error=why, headers={"Retry-After": "5"})
    if given and (caller := keys.caller(given)):
        return caller
    if rules.token is not None or keys.guards:
        return Refusal(
            status=401,
            error="send an API key (`millrace keys create` makes one), or the worker's HTTP_TOKEN, as "
            "`Authorization: Bearer …`; this is none that is good now",
            headers={"WWW-Authenticate": 'Bearer realm="millrace"'},
        )
    if is_near(rules, asked):
        return Caller("this machine", (ADMIN,))
    return Refusal(
        status=403,
        error="beyond loopback only /health and /metrics answer until there is an API key or a token; make a key with "
        "`millrace keys create`, or give the worker the secret HTTP_TOKEN, and send it as `Authorization: Bearer …`",
    )


def _credential(asked: Asked) -> str | None:
    """What was sent as key or token; two of them are none."""
    bearers, keys = asked.headers.get("authorization", ()), asked.headers.get("x-api-key", ())
    if len(bearers) + len(keys) != 1:
        return None
    if keys:
        return keys[0].strip()
    scheme, _, told = bearers[0].partition(" ")
    return told.strip() if scheme.lower() == "bearer" else None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _host_refusal(rules: Rules, asked: Asked) -> Refusal | None:
    given = asked.headers.get("host", ())
    name = _name_of(given[0]) if len(given) == 1 else None
    if name is not None and (name in rules.hosts or name == asked.local or is_loopback(name)):
        return None
    return Refusal(
        status=421,
        error=f"Host {', '.join(given)[:100]!r} is not a name of this server; "
        "use its address, or add the name to HTTP_ALLOWED_HOSTS",
    )


def _write_refusal(asked: Asked) -> Refusal | None:
    headers = asked.headers
    if any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", ())):
        return Refusal(status=403, error="a web page of another site may not ask this")
    host = headers.get("host", ("",))[0].lower()
    if any(_origin_host(origin) != host for origin in headers.get("origin", ())):
        return Refusal(status=403, error="a web page of another origin may not ask this")
    if any(encoding != "identity" for encoding in headers.get("content-encoding", ())):
        return Refusal(status=415, error="the body must not be compressed")
    types = headers.get("content-type", ())
    if any(_media_type(given) != "application/json" for given in types) or (_has_body(headers) and not types):
        return Refusal(
            status=415,
            error=f"the body must be JSON, sent as `Content-Type: application/json` (it came as "
            f"{', '.join(types)[:80] or 'nothing'!r})",
        )
    return None


def _origin_host(origin: str) -> str:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or any(given.strip() != "0" for given in headers.get("content-length", ()))


def _media_type(given: str) -> str:
    return given.partition(";")[0].strip().lower()


def _name_of(host: str) -> str | None:
    """The name or address in a Host header, lower case and without its port; None when it is not one."""
    name = host.strip().lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or not _is_ip(name):
            return None
    else:
        name, colon, port = name.partition(":")
        port = colon + port
    if port and not (port[0] == ":" and port[1:].isdecimal()):
        return None
    return name.removesuffix(".") or None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
