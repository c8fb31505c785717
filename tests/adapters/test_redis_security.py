"""A Redis that speaks TLS only and knows its users: who is let in, and what is told who is not. The server is real."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from adapters.bus.redis_stream.bus import RedisStreamBus
from adapters.clock.system import SystemClock
from adapters.tls import Tls
from contracts.errors import Unavailable
from contracts.message import Envelope
from contracts.ports.secrets import Secret
from tests.adapters.test_redis_bus import documented_rights
from tests.conformance.bus_recorder import Recorder, stream
from tests.kit import services
from tests.kit.redis_users import redis_user
from tests.kit.rights import uses_all_rights
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

CLOCK = SystemClock()


def known(redis: services.SecuredRedisRunning) -> Tls:
    return Tls(ca_file=redis.authority.ca_file, cert_file=redis.authority.client_file("client"))


def bare(url: str) -> str:
    """Without what names certificates."""
    return urlunsplit(urlsplit(url)._replace(query=""))


def as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(bare(url))
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[RedisStreamBus]:
    bus = RedisStreamBus(url, clock=CLOCK, **more)
    try:
        await bus.open()
        yield bus
    finally:
        await bus.close()


async def test_messages_go_round(secured_redis: services.SecuredRedisRunning) -> None:
    tls = known(secured_redis).context("Redis TLS")
    recorder = Recorder(stream(f"kit.{CLOCK.new_id()}", partitions=1), lambda: None, commits=True)
    async with redis_user(secured_redis, "~*", *documented_rights()) as url:
        bus = RedisStreamBus(bare(url), clock=CLOCK, tls=tls)
        bus.mount(recorder, schema={})
        try:
            await bus.open()
            await bus.start()
            await bus.publish(Envelope(id=CLOCK.new_id(), address=recorder.route.address, body=b"{}"))
            await until(lambda: bool(recorder.deliveries))
        finally:
            await bus.close()


@pytest.mark.parametrize(
    ("user", "password", "trusts", "shows", "told"),
    [
        ("admin", "geheim", True, True, "check the user and the password of its URL"),
        ("nobody", "geheim", True, True, "check the user and the password of its URL"),
        ("", "", True, True, "check the user and the password of its URL"),
        ("admin", "geheim", False, True, "name the authority that signed its certificate"),
        ("admin", "geheim", True, False, "does it want a certificate of ours"),
    ],
    ids=["wrong password", "unknown user", "no user", "untrusted", "no certificate"],
)
async def test_who_is_refused_is_told_why_and_what_to_do(
    secured_redis: services.SecuredRedisRunning,
    caplog: pytest.LogCaptureFixture,
    user: str,
    password: str,
    trusts: bool,
    shows: bool,
    told: str,
) -> None:
    tls = known(secured_redis)
    given = Tls(ca_file=tls.ca_file if trusts else None, cert_file=tls.cert_file if shows else None)
    url = as_user(secured_redis.url, user, password) if user else secured_redis.bare_url
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match=told) as raised:
        async with opened(url, tls=given.context("Redis TLS")):
            pass
    assert "geheim" not in f"{raised.value} {caplog.text}"


@pytest.mark.parametrize(
    # Redis 7.0 does not say which command of a script it is that is not allowed.
    ("command", "named"),
    [("+xadd", "xadd|script can't run"), ("+evalsha", "evalsha"), ("+xreadgroup", "xreadgroup")],
)
async def test_a_right_that_is_missing_is_named(
    secured_redis: services.SecuredRedisRunning, command: str, named: str
) -> None:
    recorder = Recorder(stream(f"kit.{CLOCK.new_id()}", partitions=1), lambda: None)
    async with redis_user(secured_redis, "~*", *documented_rights(without=command)) as url:
        bus = RedisStreamBus(url, clock=CLOCK)
        bus.mount(recorder, schema={})
        try:
            with pytest.raises(Unavailable, match=f"{named}.*docs/security.md has the rules"):
                await uses_all_rights(bus, recorder)
        finally:
            await bus.close()


async def test_tls_is_told_from_plain(
    redis_server: services.Running, secured_redis: services.SecuredRedisRunning
) -> None:
    plain = urlsplit(redis_server.url)
    with pytest.raises(Unavailable, match="is it a port for TLS"):
        async with opened(urlunsplit(plain._replace(scheme="rediss")), timeout_s=0.5):
            pass
    with pytest.raises(Unavailable):
        async with opened(secured_redis.bare_url.replace("rediss://", "redis://")):
            pass


async def test_an_exchanged_password_is_used_for_the_next_connection(
    secured_redis: services.SecuredRedisRunning,
) -> None:
    held = ["wrong"]

    async def look_up() -> Secret:
        return Secret(held[0])

    async with redis_user(secured_redis, "~*", *documented_rights()) as url:
        parts = urlsplit(url)
        nameless = urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}"))
        with pytest.raises(Unavailable, match="check the user and the password"):
            async with opened(nameless, password=look_up):
                pass
        held[0] = parts.password or ""
        async with opened(nameless, password=look_up) as bus:
            await bus.check()
            assert bus.address == f"rediss://{parts.hostname}:{parts.port}/0"
