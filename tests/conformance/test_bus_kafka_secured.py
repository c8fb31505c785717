"""The Kafka bus by TLS and a password, as a user who has the documented rights and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.bus.kafka.security import Security
from adapters.clock.system import SystemClock
from adapters.tls import Tls
from contracts.ports.secrets import Secret, fixed
from tests.conformance.bus_suite import ESSENTIAL, Promise, name_of
from tests.conformance.test_bus_kafka import KafkaBacking, backing_on
from tests.kit import services
from tests.kit.services.kafka_secured import PASSWORD, USER

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def backing(secured_kafka: services.SecuredRunning) -> AsyncIterator[KafkaBacking]:
    security = Security(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username=USER,
        password=fixed(Secret(PASSWORD)),
        tls=Tls(ca_file=secured_kafka.authority.ca_file),
    )
    async with backing_on(secured_kafka) as made:
        made.url = secured_kafka.urls["SASL_SSL"]
        made.security = security.options(SystemClock())
        yield made


@pytest.mark.parametrize("promise", ESSENTIAL, ids=name_of)
async def test_by_tls_and_password(promise: Promise, backing: KafkaBacking) -> None:
    await promise(backing)
