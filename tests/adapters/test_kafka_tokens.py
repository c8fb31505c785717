"""Tokens for OAUTHBEARER: asked for once, renewed before they end, and never told."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator

import pytest

from adapters.bus.kafka.oauth import ClientCredentials, Grant, NoToken
from adapters.clock.manual import ManualClock
from contracts.ports.secrets import Secret, fixed
from tests.kit.signed_tokens import CLIENT, SECRET, Signer, TokenEndpoint, token_endpoint

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def endpoint(signer: Signer) -> Iterator[TokenEndpoint]:
    with token_endpoint(signer, "worker") as made:
        yield made


def tokens(endpoint: TokenEndpoint, clock: ManualClock, *, secret: str = SECRET, scope: str = "") -> ClientCredentials:
    grant = Grant(url=endpoint.url, client_id=CLIENT, client_secret=fixed(Secret(secret)), scope=scope)
    return ClientCredentials(grant, clock)


async def test_one_token_serves_all_connections_until_it_is_renewed(
    endpoint: TokenEndpoint, clock: ManualClock
) -> None:
    endpoint.told_life_s = 100.0
    provider = tokens(endpoint, clock, scope="kafka read")
    first = await asyncio.gather(*(provider.token() for _ in range(10)))
    assert len(set(first)) == 1
    await clock.advance(79)
    assert await provider.token() == first[0]
    assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka read"}]
    endpoint.life_s = 7200.0  # so that the next one differs
    await clock.advance(1)
    assert await provider.token() != first[0]
    assert len(endpoint.asked) == 2


async def test_while_the_endpoint_is_down_the_token_is_used_to_its_end(
    endpoint: TokenEndpoint, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.told_life_s = 100.0
    provider = tokens(endpoint, clock)
    first = await provider.token()
    endpoint.down = True
    await clock.advance(90)
    with caplog.at_level(logging.WARNING):
        assert await provider.token() == first
    assert "answered 503 (temporarily_unavailable)" in caplog.text
    await clock.advance(10)
    with pytest.raises(NoToken, match="answered 503"):
        await provider.token()
    endpoint.down = False
    await provider.token()


async def test_a_secret_is_looked_up_for_each_token(endpoint: TokenEndpoint, clock: ManualClock) -> None:
    held = [SECRET]

    async def look_up() -> Secret:
        return Secret(held[0])

    provider = ClientCredentials(Grant(url=endpoint.url, client_id=CLIENT, client_secret=look_up), clock)
    await provider.token()
    endpoint.secret = held[0] = "exchanged"
    await clock.advance(3600)
    await provider.token()


async def test_who_is_refused_is_told_without_secrets(endpoint: TokenEndpoint, clock: ManualClock) -> None:
    stranger = tokens(endpoint, clock, secret="geheim")
    with pytest.raises(NoToken, match=r"answered 401 \(invalid_client: .*check MQ_KAFKA_OAUTH_CLIENT_ID") as raised:
        await stranger.token()
    assert "geheim" not in "".join(traceback.format_exception(raised.value))
    provider = tokens(endpoint, clock)
    token = await provider.token()
    assert token not in repr(vars(provider))


async def test_an_endpoint_that_is_not_there_is_told(clock: ManualClock) -> None:
    grant = Grant(url="http://127.0.0.1:1/token", client_id=CLIENT, client_secret=fixed(Secret("geheim")))
    with pytest.raises(NoToken, match=r"127\.0\.0\.1:1/token: All connection attempts failed"):
        await ClientCredentials(grant, clock).token()
