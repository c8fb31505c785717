"""The Redis bus by TLS, certificates on both sides, as a user who has the documented rights and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.adapters.test_redis_bus import documented_rights
from tests.conformance.bus_suite import ESSENTIAL, Promise, name_of
from tests.conformance.test_bus_redis import RedisBacking, backing_on
from tests.kit import services
from tests.kit.redis_users import redis_user

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
async def backing(secured_redis: services.SecuredRedisRunning) -> AsyncIterator[RedisBacking]:
    async with (
        redis_user(secured_redis, "~*", *documented_rights()) as url,
        backing_on(url, own=secured_redis.url) as made,
    ):
        yield made


@pytest.mark.parametrize("promise", ESSENTIAL, ids=name_of)
async def test_by_tls_and_a_user(promise: Promise, backing: RedisBacking) -> None:
    await promise(backing)
