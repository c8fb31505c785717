"""A Kafka that lets nobody in unasked: listeners with TLS and SASL, users, and rights that are granted one by one."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kit.certificates import Authority
from tests.kit.services.cache import call, kept
from tests.kit.services.home import Home
from tests.kit.services.kafka import JAVA, SETTINGS, STARTED
from tests.kit.services.kafka_programs import CLUSTER, FORMAT, VERSION, find_programs
from tests.kit.services.native import NativeServer
from tests.kit.services.ports import Port
from tests.kit.services.service import CannotStart, Running, Service, start_or_end
from tests.kit.signed_tokens import AUDIENCE, ISSUER, Signer

USER, PASSWORD = "worker", "kit-password"
"""Of all that have a password; the client with this common name, and the token with this subject, are the same user."""
LISTENERS = ("OPEN", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
"""`OPEN` asks nobody, and who comes by it may do all: for the broker itself, and for tests that grant rights."""
SECURITY = "org.apache.kafka.common.security"


class SecuredRunning(Running, frozen=True, kw_only=True):
    """`url` is that of the open listener; `urls` are those of all, by name."""

    urls: dict[str, str]
    authority: Authority
    signer: Signer


class SecuredKafka(Service):
    """Native only: an address alone would not say whom it knows."""

    def __init__(self) -> None:
        remedy = "Install Java 17 or newer and Maven."
        super().__init__("Kafka with TLS and SASL", ways=(start_secured_kafka,), remedy=remedy)

    def _given(self) -> Running:
        raise CannotStart("it is never given by an address")


def start_secured_kafka() -> SecuredRunning:
    """Raises `CannotStart`."""
    java, programs = find_programs()
    formatted = kept(f"kafka-{VERSION}-users", lambda directory: _format(java, programs, directory))
    home = Home("kafka-secured")
    authority, signer = Authority(home.path), Signer()
    (home.path / "keys.json").write_text(signer.public_keys())
    logs = home.data / "logs"
    shutil.copytree(formatted / "formatted", logs)
    controller, *ports = Port(), *(Port() for _ in LISTENERS)
    urls = {name: port.address for name, port in zip(LISTENERS, ports, strict=True)}
    told = ",".join(f"{name}://{address}" for name, address in urls.items())
    protocols = ["CONTROLLER:PLAINTEXT", "OPEN:PLAINTEXT", *(f"{name}:{name}" for name in LISTENERS[1:])]
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{controller.address}",
        "inter.broker.listener.name": "OPEN",
        "listener.security.protocol.map": ",".join(protocols),
        "listeners": f"CONTROLLER://{controller.address},{told}",
        "advertised.listeners": told,
        "log.dirs": str(logs),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        **_tls(authority),
        **_sasl(home.path / "keys.json"),
    }
    properties = home.path / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    keys = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={(home.path / 'keys.json').as_uri()}"
    command = [java, *JAVA, keys, "-cp", f"{programs / 'libs'}/*", "kafka.Kafka", str(properties)]
    server = NativeServer(
        "Kafka", command, home=home, ports=[controller, *ports], ready=lambda server: STARTED in server.log
    )
    start_or_end(server)
    return SecuredRunning(
        name="Kafka with TLS and SASL",
        url=urls["OPEN"],
        how=f"native, process {server.pid}",
        end=server.end,
        native=server,
        urls=urls,
        authority=authority,
        signer=signer,
    )


def _tls(authority: Authority) -> dict[str, str]:
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.server_file()),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
    }


def _sasl(keys: Path) -> dict[str, str]:
    plain = f'{SECURITY}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    scram = f"{SECURITY}.scram.ScramLoginModule required;"
    token = f"{SECURITY}.oauthbearer.OAuthBearerLoginModule required;"
    modules = {"plain": plain, "scram-sha-256": scram, "scram-sha-512": scram, "oauthbearer": token}
    settings = {}
    for listener in ("sasl_plaintext", "sasl_ssl"):
        taken = [name for name in modules if listener == "sasl_ssl" or name != "oauthbearer"]
        settings[f"listener.name.{listener}.sasl.enabled.mechanisms"] = ",".join(taken).upper()
        settings |= {f"listener.name.{listener}.{name}.sasl.jaas.config": modules[name] for name in taken}
    handler = f"{SECURITY}.oauthbearer.OAuthBearerValidatorCallbackHandler"
    return settings | {
        "listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class": handler,
        # Without a prefix these count; and the validator by default (of 4.1.0) does not look at signatures.
        "sasl.oauthbearer.jwt.validator.class": f"{SECURITY}.oauthbearer.BrokerJwtValidator",
        "sasl.oauthbearer.jwks.endpoint.url": keys.as_uri(),
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "sasl.oauthbearer.expected.issuer": ISSUER,
    }


def _format(java: str, programs: Path, directory: Path) -> None:
    """With the users of SCRAM, whose passwords Kafka keeps among its own data."""
    formatted, properties = directory / "formatted", directory / "format.properties"
    properties.write_text(FORMAT.format(formatted))
    tool = [java, "-cp", f"{programs / 'libs'}/*", "kafka.tools.StorageTool", "format", "-t", CLUSTER]
    users = [
        part
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for part in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
    ]
    call([*tool, "-c", str(properties), *users], cwd=directory)
