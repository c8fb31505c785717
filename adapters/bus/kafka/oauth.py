"""Tokens for OAUTHBEARER by the client-credentials grant (RFC 6749, 4.4): asked for once, and again before they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import msgspec
from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped]

from adapters.tls import Tls
from contracts.ports.clock import Clock
from contracts.ports.secrets import Credential
from contracts.redaction import without_secrets

_logger = logging.getLogger("millrace.bus")

USED_FOR = 0.8
"""Of a token's life; then the next one is asked for, while this one is still good."""
LARGEST_BYTES = 64 * 1024
SHOWN_CHARS = 200


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Where tokens come from, and as whom; `client_secret` is looked up for each of them."""

    url: str
    client_id: str
    client_secret: Credential
    scope: str = ""
    tls: Tls = Tls()
    timeout_s: float = 5.0


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`renew_at` and `ends_at` are instants of the clock's `monotonic`."""

    text: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "Token(***)"


class NoToken(KafkaConnectionError):  # type: ignore[misc]
    """What aiokafka takes for a connection that could not be made, and tries again."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Hands each new connection a good token. While the endpoint is down, the present one is used to its end."""

    def __init__(self, grant: Grant, clock: Clock) -> None:
        self._grant = grant
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token: Token | None = None

    async def token(self) -> str:
        """Raises `NoToken` with what the endpoint said, without any secret."""
        async with self._asking:
            token = self._token
            if token is None or self._clock.monotonic() >= token.renew_at:
                token = await self._next(token)
            return token.text

    async def _next(self, present: Token | None) -> Token:
        try:
            self._token = await self._ask()
        except NoToken as error:
            if present is None or self._clock.monotonic() >= present.ends_at:
                raise
            _logger.warning("%s; the present token is used until it ends", error)
            return present
        return self._token

    async def _ask(self) -> Token:
        import httpx

        grant = self._grant
        form = {"grant_type": "client_credentials"} | ({"scope": grant.scope} if grant.scope else {})
        asked_at = self._clock.monotonic()
        try:
            secret = await grant.client_secret()
            # RFC 6749, 2.3.1: both are encoded as in forms before they are joined.
            who = httpx.BasicAuth(quote_plus(grant.client_id), quote_plus(secret.reveal()))
            verify = grant.tls.context("Kafka OAuth") if grant.url.startswith("https:") else False
            async with (
                self._clock.timeout(grant.timeout_s),
                httpx.AsyncClient(verify=verify, timeout=grant.timeout_s) as client,
            ):
                answer = await client.post(grant.url, data=form, auth=who, headers={"Accept": "application/json"})
        except TimeoutError:
            raise NoToken(f"{self._where}: no answer within {grant.timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise NoToken(f"{self._where}: {str(error) or type(error).__name__}") from None
        said = _decoded(answer.content)
        if answer.status_code != httpx.codes.OK:
            raise NoToken(f"{self._where} answered {answer.status_code}{_why(said)}; {_remedy(answer.status_code)}")
        return self._understood(said, asked_at)

    def _understood(self, said: Mapping[str, Any], asked_at: float) -> Token:
        text, life_s = said.get("access_token"), said.get("expires_in", 0)
        if not isinstance(text, str) or not text or not isinstance(life_s, int | float):
            raise NoToken(f"{self._where} answered without an access_token: is it the token endpoint?")
        return Token(text=text, renew_at=asked_at + USED_FOR * life_s, ends_at=asked_at + life_s)

    @property
    def _where(self) -> str:
        return f"no token for {self._grant.client_id!r}: {without_secrets(self._grant.url)}"


def _decoded(content: bytes) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(content[:LARGEST_BYTES])
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _why(said: Mapping[str, Any]) -> str:
    """The `error` and `error_description` of RFC 6749, 5.2."""
    words = [str(said[name]) for name in ("error", "error_description") if said.get(name)]
    return f" ({without_secrets(': '.join(words))[:SHOWN_CHARS]})" if words else ""


def _remedy(status: int) -> str:
    if status in (400, 401, 403):
        return "check MQ_KAFKA_OAUTH_CLIENT_ID, MQ_KAFKA_OAUTH_CLIENT_SECRET and MQ_KAFKA_OAUTH_SCOPE"
    return "check MQ_KAFKA_OAUTH_URL"
