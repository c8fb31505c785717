"""How the cluster is reached: what is given as plain settings, as FastStream's and aiokafka's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from faststream.kafka.security import parse_security
from faststream.security import (
    SASLGSSAPI,
    BaseSecurity,
    SASLOAuthBearer,
    SASLPlaintext,
    SASLScram256,
    SASLScram512,
)

from contracts.errors import Faults
from contracts.ports.secrets import Credential

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
WITH_PASSWORD = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
OTHERS = {"OAUTHBEARER": SASLOAuthBearer, "GSSAPI": SASLGSSAPI}
EXTRA = ("sasl_kerberos_service_name", "sasl_kerberos_domain_name", "sasl_oauth_token_provider")
KNOWN = {"security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password", *EXTRA}


class LookedUp(str):
    """Stands where aiokafka takes a password, for one that is looked up for each connection (by `seams`)."""

    __slots__ = ("look_up",)
    look_up: Credential

    @classmethod
    def by(cls, look_up: Credential, present: str = "") -> LookedUp:
        made = cls(present)
        made.look_up = look_up
        return made


async def looked_up(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the present password: for a client that connects before it could be made to look."""
    password = options.get("sasl_plain_password")
    if not isinstance(password, LookedUp):
        return dict(options)
    present = (await password.look_up()).reveal()
    return {**options, "sasl_plain_password": LookedUp.by(password.look_up, present)}


def security_of(settings: Mapping[str, Any]) -> BaseSecurity | None:
    """From aiokafka's own names. Raises `Faults`, without any value that may be a secret."""
    if unknown := sorted(set(settings) - KNOWN):
        raise Faults("kafka security", [f"{name}: unknown; known are {', '.join(sorted(KNOWN))}" for name in unknown])
    protocol = settings.get("security_protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise Faults("kafka security", [f"security_protocol: {protocol!r}; it can be {', '.join(PROTOCOLS)}"])
    tls: dict[str, Any] = {"use_ssl": protocol.endswith("SSL")}
    if tls["use_ssl"]:
        from ssl import create_default_context

        tls["ssl_context"] = settings.get("ssl_context") or create_default_context()
    if not protocol.startswith("SASL"):
        return BaseSecurity(**tls) if tls["use_ssl"] else None
    mechanism = settings.get("sasl_mechanism", "PLAIN")
    if mechanism in OTHERS:
        return OTHERS[mechanism](**tls)
    if mechanism not in WITH_PASSWORD:
        known = ", ".join([*WITH_PASSWORD, *OTHERS])
        raise Faults("kafka security", [f"sasl_mechanism: {mechanism!r}; it can be {known}"])
    names = ("sasl_plain_username", "sasl_plain_password")
    absent = [name for name in names if not settings.get(name)]
    if missing := [name for name in absent if not isinstance(settings.get(name), LookedUp)]:
        raise Faults("kafka security", [f"{name}: missing; {mechanism} needs it" for name in missing])
    return WITH_PASSWORD[mechanism](*(settings[name] for name in names), **tls)


def client_options(servers: list[str], client_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What every aiokafka client is made with."""
    extra = {name: settings[name] for name in EXTRA if name in settings}
    secured = parse_security(security_of(settings))
    return {"bootstrap_servers": servers, "client_id": client_id, **secured, **extra}


def _tells_no_secret(record: logging.LogRecord) -> bool:
    """aiokafka logs each request and response whole at DEBUG, the password or token among them."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(type(argument).__name__.startswith("SaslAuthenticate") for argument in arguments)


logging.getLogger("aiokafka.conn").addFilter(_tells_no_secret)


def servers_of(bootstrap_servers: str) -> list[str]:
    """`host:port,host:port`; a port that is left out is 9092. Raises `Faults`."""
    servers = [server.strip() for server in bootstrap_servers.split(",") if server.strip()]
    if not servers:
        raise Faults("kafka", [f"bootstrap servers: {bootstrap_servers!r}; write host:port, several with commas"])
    return [server if server.rpartition(":")[2].isdigit() else f"{server}:9092" for server in servers]
