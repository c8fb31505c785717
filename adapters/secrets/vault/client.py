"""One request to Vault and what its answer means. No error shows a token, a value or a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from adapters.tls import Tls
from contracts.errors import Unavailable
from contracts.ports.clock import Clock
from contracts.ports.secrets import Secret
from contracts.redaction import without_secrets

if TYPE_CHECKING:
    import httpx

NAME = "Vault"
SHOWN_CHARS = 300


class Down(Unavailable):
    """It gave no answer, or none that says anything about the request: sealed, overloaded, without a leader."""


class Denied(Unavailable):
    """It answered, and refuses: a token that it does not know (any more), a wrong login, a missing right."""


class VaultClient:
    """Requests to one server; a standby that names the active node is followed there, once."""

    def __init__(self, url: str, *, clock: Clock, namespace: str = "", tls: Tls | None = None, timeout_s: float = 5.0):
        self._url = url.rstrip("/")
        self._clock = clock
        self._tls = tls or Tls()
        self._timeout_s = timeout_s
        # https://developer.hashicorp.com/vault/docs/auth#forwarding: only what has this header is taken for a client's.
        self._headers = {"X-Vault-Request": "true"} | ({"X-Vault-Namespace": namespace} if namespace else {})
        self._client: httpx.AsyncClient | None = None

    @property
    def address(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    async def close(self) -> None:
        """Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ask(
        self, method: str, path: str, *, token: Secret | None = None, body: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The answer, or None where there is nothing. Raises `Down` or `Denied`."""
        headers = self._headers | ({"X-Vault-Token": token.reveal()} if token else {})
        answer = await self._answer(method, f"{self._url}/v1/{path}", headers, body)
        said = _decoded(answer.content)
        status = answer.status_code
        if status < 300:
            return said
        why = "; ".join(map(str, said.get("errors") or ())) or "no reason given"
        told = f"{self.address} answered {status} to {path} ({without_secrets(why)[:SHOWN_CHARS]})"
        if status == 404 and "no handler for route" not in why:
            return None
        if status == 503:
            raise Down(NAME, f"{told}: it is sealed or has no leader; unseal it")
        if status == 429 or status >= 500:
            raise Down(NAME, told)
        raise Denied(NAME, told)

    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | None
    ) -> httpx.Response:
        import httpx

        try:
            async with self._clock.timeout(self._timeout_s):
                client = self._connected()
                answer = await client.request(method, url, headers=headers, json=body)
                if answer.status_code in (301, 302, 307, 308) and (active := self._active(answer)):
                    answer = await client.request(method, active, headers=headers, json=body)
                return answer
        except TimeoutError:
            raise Down(NAME, f"{self.address} did not answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without its cause: that one carries the request, with the token.
            raise Down(NAME, f"{self.address}: {str(error) or type(error).__name__}") from None

    def _active(self, answer: httpx.Response) -> str:
        """Where to a standby sends us; empty where our token would leave TLS."""
        target = str(answer.url.join(answer.headers.get("Location", "")))
        return "" if self._url.startswith("https:") and not target.startswith("https:") else target

    def _connected(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            verify = self._tls.context("Vault TLS") if self._url.startswith("https:") else False
            self._client = httpx.AsyncClient(verify=verify, timeout=self._timeout_s)
        return self._client


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}
