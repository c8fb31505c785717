"""Who may ask what: a pure decision about one request, before any of its body is read.

Health and metrics answer to anyone; a link to a file is right or wrong by its own signature. Everything else answers
on loopback only, until a token is set; with one, it answers to its bearer. A web page that a person of this machine
looks at must not be able to ask anything: `Host` is checked (it could have its own name lead here), and what changes
something takes JSON from no other origin.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from contracts.file_link import PLACE as LINKED_FILES
from contracts.ports import Secret
from runtime.http.listen import is_loopback

PUBLIC = frozenset({"/metrics", "/health/live", "/health/ready", "/health/startup"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A proxy on this machine lends its loopback address to anybody: its marks are never trusted to open, only to close.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

Headers = Mapping[str, Sequence[str]]
"""By lower-case name."""


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


def refuse(rules: Rules, asked: Asked) -> Refusal | None:
    """None: the request may go on."""
    public = asked.path in PUBLIC
    if asked.local_port == rules.metrics_port and rules.metrics_port is not None and not public:
        return Refusal(status=404, error="this port has /metrics and /health only")
    open_to_all = public or by_link(asked)
    if not (open_to_all and not is_near(rules, asked)) and (refusal := _host_refusal(rules, asked)):
        return refusal
    if open_to_all:
        return None
    return _caller_refusal(rules, asked) or (None if asked.method in SAFE else _write_refusal(asked))


def by_link(asked: Asked) -> bool:
    """Whether it reads a file by a link, whose signature is looked at where it is served."""
    return asked.path.startswith(LINKED_FILES) and asked.method in SAFE


def is_near(rules: Rules, asked: Asked) -> bool:
    """Whether it comes from this machine, by a server that only this machine can reach."""
    return rules.on_loopback and is_loopback(asked.peer) and not any(name in asked.headers for name in FORWARDED)


def may_see_all(rules: Rules, asked: Asked) -> bool:
    """Whether details (addresses, faults of adapters) may be told."""
    return _caller_refusal(rules, asked) is None


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


def _caller_refusal(rules: Rules, asked: Asked) -> Refusal | None:
    if rules.token is None:
        if is_near(rules, asked):
            return None
        return Refusal(
            status=403,
            error="beyond loopback only /health and /metrics answer until a token is set; "
            "give the worker the secret HTTP_TOKEN and send it as `Authorization: Bearer …`",
        )
    given = asked.headers.get("authorization", ())
    scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
    told = token.strip().encode("utf-8", "surrogateescape")
    if hmac.compare_digest(told, rules.token.reveal().encode()) and scheme.lower() == "bearer":
        return None
    return Refusal(
        status=401,
        error="send the worker's HTTP_TOKEN as `Authorization: Bearer …`",
        headers={"WWW-Authenticate": 'Bearer realm="millrace"'},
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
