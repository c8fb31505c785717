from __future__ import annotations

import ssl
from typing import Any

import pytest

from adapters.bus.kafka.bus import KafkaBus
from adapters.bus.kafka.connection import client_options, servers_of
from adapters.clock.system import SystemClock
from contracts.errors import Faults


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("kafka:9092", ["kafka:9092"]),
        ("kafka", ["kafka:9092"]),
        (" a:1 , b:2,", ["a:1", "b:2"]),
        ("[::1]:9093", ["[::1]:9093"]),
    ],
)
def test_servers_are_read(given: str, servers: list[str]) -> None:
    assert servers_of(given) == servers


@pytest.mark.parametrize("given", ["", " , "])
def test_no_server_is_a_fault(given: str) -> None:
    with pytest.raises(Faults, match="host:port"):
        servers_of(given)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_password_goes_to_every_client(mechanism: str) -> None:
    given = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "u",
        "sasl_plain_password": "secret",
    }
    options = client_options(["a:1"], "c", given)
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {"bootstrap_servers": ["a:1"], "client_id": "c", **given}


def test_without_anything_it_is_plain_text() -> None:
    assert client_options(["a:1"], "c", {}) == {"bootstrap_servers": ["a:1"], "client_id": "c"}


def test_tls_without_a_context_of_its_own_trusts_what_the_machine_trusts() -> None:
    options = client_options(["a:1"], "c", {"security_protocol": "SSL"})
    assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"sasl_password": "secret"}, "sasl_password: unknown"),
        ({"security_protocol": "TLS"}, "it can be PLAINTEXT, SSL"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "MD5"}, "it can be PLAIN, SCRAM"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_plain_password": "secret"}, "sasl_plain_username: missing"),
    ],
)
def test_faults_name_what_is_wrong_and_no_secret(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(Faults, match=fault) as raised:
        client_options(["a:1"], "c", given)
    assert "secret" not in str(raised.value)


def test_the_address_of_a_bus_holds_no_secret_and_its_times_must_fit() -> None:
    security = {"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": "u", "sasl_plain_password": "secret"}
    bus = KafkaBus("a:1,b:2", clock=SystemClock(), security=security)
    assert bus.address == "kafka://a:1,b:2"
    assert "secret" not in repr(bus)
    with pytest.raises(Faults, match="revoke_wait_s 60 must be below rebalance_timeout_s 60"):
        KafkaBus("a:1", clock=SystemClock(), revoke_wait_s=60)
