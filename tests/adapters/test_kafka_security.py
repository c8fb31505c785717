"""Kafka's listeners with TLS and SASL: who is let in, and what is told who is not. The broker is a real one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.kafka.limits import KafkaLimits
from adapters.bus.kafka.oauth import Grant
from adapters.bus.kafka.security import Security
from adapters.clock.system import SystemClock
from adapters.tls import Tls
from contracts.errors import Faults, MillraceError, Unavailable
from contracts.message import Envelope
from contracts.ports.secrets import Secret, fixed
from tests.conformance.bus_recorder import Recorder, stream
from tests.kit import services
from tests.kit.certificates import Authority
from tests.kit.kafka_rights import grant_documented
from tests.kit.rights import uses_all_rights
from tests.kit.services.kafka_secured import PASSWORD, USER
from tests.kit.signed_tokens import CLIENT, SECRET, TokenEndpoint, token_endpoint
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

CLOCK = SystemClock()
SHORT = KafkaLimits(fetch_wait_s=0.1, open_wait_s=10.0, commit_wait_s=5.0, publish_wait_s=5.0, close_wait_s=2.0)

AT_ONCE = msgspec.structs.replace(SHORT, open_wait_s=2.0)
"""aiokafka takes this refusal for a welcome, and waits."""


def with_password(kafka: services.SecuredRunning, mechanism: str, protocol: str = "SASL_SSL", **more: Any) -> Security:
    tls = Tls(ca_file=kafka.authority.ca_file)
    given = {"username": USER, "password": fixed(Secret(PASSWORD)), "tls": tls, **more}
    return Security(protocol=protocol, mechanism=mechanism, **given)


def with_token(kafka: services.SecuredRunning, endpoint: TokenEndpoint, secret: str = SECRET) -> Security:
    grant = Grant(url=endpoint.url, client_id=CLIENT, client_secret=fixed(Secret(secret)), scope="kafka")
    return Security(protocol="SASL_SSL", mechanism="OAUTHBEARER", grant=grant, tls=Tls(ca_file=kafka.authority.ca_file))


def bus_of(kafka: services.SecuredRunning, security: Security, *, limits: KafkaLimits = SHORT) -> KafkaBus:
    url = kafka.urls.get(security.protocol, kafka.url)
    return KafkaBus(url, clock=CLOCK, limits=limits, security=security.options(CLOCK))


@pytest.fixture
async def endpoint(secured_kafka: services.SecuredRunning) -> AsyncIterator[TokenEndpoint]:
    with token_endpoint(secured_kafka.signer, USER) as made:
        yield made


@asynccontextmanager
async def opened(bus: KafkaBus) -> AsyncIterator[KafkaBus]:
    try:
        await bus.open()
        yield bus
    finally:
        await bus.close()


async def goes_round(bus: KafkaBus) -> None:
    """A message is published, consumed and committed."""
    recorder = Recorder(stream(f"kit.{CLOCK.new_id()}", partitions=1), lambda: None, commits=True)
    bus.mount(recorder, schema={})
    async with opened(bus):
        await bus.start()
        await bus.publish(Envelope(id=CLOCK.new_id(), address=recorder.route.address, body=b"{}"))
        await until(lambda: bool(recorder.deliveries), timeout_s=60)
        await bus.check()


WAYS: dict[str, Callable[[services.SecuredRunning, TokenEndpoint], Security]] = {
    "PLAIN over TLS": lambda kafka, _: with_password(kafka, "PLAIN"),
    "PLAIN in the clear": lambda kafka, _: with_password(kafka, "PLAIN", "SASL_PLAINTEXT"),
    "SCRAM-SHA-256": lambda kafka, _: with_password(kafka, "SCRAM-SHA-256"),
    "SCRAM-SHA-512 in the clear": lambda kafka, _: with_password(kafka, "SCRAM-SHA-512", "SASL_PLAINTEXT"),
    "OAUTHBEARER": with_token,
    "a client's certificate": lambda kafka, _: Security(
        protocol="SSL", tls=Tls(ca_file=kafka.authority.ca_file, cert_file=kafka.authority.client_file(USER))
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_messages_go_round(way: str, secured_kafka: services.SecuredRunning, endpoint: TokenEndpoint) -> None:
    await goes_round(bus_of(secured_kafka, WAYS[way](secured_kafka, endpoint)))


REFUSED: dict[str, tuple[Callable[[services.SecuredRunning, TokenEndpoint], Security], str]] = {
    "a wrong password": (
        lambda kafka, _: with_password(kafka, "SCRAM-SHA-512", password=fixed(Secret("geheim"))),
        "user 'worker' was refused by SCRAM-SHA-512",
    ),
    "a wrong password, PLAIN": (
        lambda kafka, _: with_password(kafka, "PLAIN", password=fixed(Secret("geheim"))),
        "user 'worker' was refused by PLAIN",
    ),
    "an unknown user": (
        lambda kafka, _: with_password(kafka, "SCRAM-SHA-256", username="nobody"),
        "user 'nobody' was refused",
    ),
    "a mechanism that is not taken": (
        lambda kafka, endpoint: msgspec.structs.replace(with_token(kafka, endpoint), protocol="SASL_PLAINTEXT"),
        "it does not take OAUTHBEARER with SASL_PLAINTEXT",
    ),
    "an authority that we don't trust": (
        lambda kafka, _: with_password(kafka, "PLAIN", tls=Tls()),
        "its certificate is not trusted.*MQ_KAFKA_TLS_CA_FILE",
    ),
    "no certificate of ours": (
        lambda kafka, _: Security(protocol="SSL", tls=Tls(ca_file=kafka.authority.ca_file)),
        "certificate of ours|listener for SSL",
    ),
    "a wrong secret at the token endpoint": (
        lambda kafka, endpoint: with_token(kafka, endpoint, "geheim"),
        "answered 401 .invalid_client.*MQ_KAFKA_OAUTH_CLIENT_SECRET",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_who_is_refused_is_told_why_and_what_to_do(
    case: str, secured_kafka: services.SecuredRunning, endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    make, told = REFUSED[case]
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match=told) as raised:
        async with opened(bus_of(secured_kafka, make(secured_kafka, endpoint))):
            pass
    assert "geheim" not in f"{raised.value} {caplog.text}"
    assert PASSWORD not in f"{raised.value} {caplog.text}"


@pytest.mark.parametrize(("protocol", "listener"), [("PLAINTEXT", "SASL_SSL"), ("SASL_SSL", "OPEN"), ("SSL", "OPEN")])
async def test_the_wrong_protocol_is_told(protocol: str, listener: str, secured_kafka: services.SecuredRunning) -> None:
    security = with_password(secured_kafka, "PLAIN", protocol)
    bus = KafkaBus(secured_kafka.urls[listener], clock=CLOCK, limits=SHORT, security=security.options(CLOCK))
    with pytest.raises(Unavailable, match=rf"is it a listener for {protocol} \(MQ_KAFKA_SECURITY_PROTOCOL\)"):
        async with opened(bus):
            pass


async def test_a_token_that_is_refused_is_told(secured_kafka: services.SecuredRunning, endpoint: TokenEndpoint) -> None:
    endpoint.audience = "somebody else"
    with pytest.raises(Unavailable, match="did not take the token"):
        async with opened(bus_of(secured_kafka, with_token(secured_kafka, endpoint), limits=AT_ONCE)):
            pass


@pytest.mark.parametrize(
    ("operation", "told"),
    [("Write", "grant WRITE on the topic"), ("Create", "is not there for this user"), ("Read", "")],
)
async def test_a_right_that_is_missing_is_named(
    operation: str, told: str, secured_kafka: services.SecuredRunning, endpoint: TokenEndpoint
) -> None:
    user = f"without-{operation.lower()}"
    await grant_documented(secured_kafka.url, user=user, without=[operation])
    certificate = secured_kafka.authority.client_file(user)
    security = Security(protocol="SSL", tls=Tls(ca_file=secured_kafka.authority.ca_file, cert_file=certificate))
    recorder = Recorder(stream(f"kit.{CLOCK.new_id()}", partitions=1), lambda: None)
    bus = bus_of(secured_kafka, security)
    bus.mount(recorder, schema={})
    try:
        with pytest.raises(MillraceError, match=told or "Authorization"):
            await uses_all_rights(bus, recorder)
    finally:
        await bus.close()


async def test_an_exchanged_password_is_used_for_the_next_connection(secured_kafka: services.SecuredRunning) -> None:
    held = ["wrong"]

    async def look_up() -> Secret:
        return Secret(held[0])

    security = with_password(secured_kafka, "SCRAM-SHA-512", password=look_up)
    bus = bus_of(secured_kafka, security)
    with pytest.raises(Unavailable):
        async with opened(bus):
            pass
    held[0] = PASSWORD
    await goes_round(bus)


async def test_files_that_are_no_certificates_are_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (empty := tmp_path / "empty.pem").touch()
    key = tmp_path / "key.pem"
    key.write_text(authority.client_file("other").read_text())
    for tls, told in (
        (Tls(ca_file=tmp_path / "missing.pem"), "missing.pem: No such file"),
        (Tls(ca_file=empty), "empty.pem: .*must hold certificates as PEM"),
        (Tls(cert_file=empty), "empty.pem: .*a certificate and its own key"),
        (Tls(cert_file=authority.client_file("me"), key_file=key), "me.pem with .*key.pem: .*its own key"),
        (Tls(key_file=key), "a key without its certificate"),
    ):
        with pytest.raises(Faults, match=told):
            Security(protocol="SSL", tls=tls).options(CLOCK)
