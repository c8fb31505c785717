"""Signed tokens (JWT, RS256), the keys to check them by, and the endpoint that hands them out to who has the secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from tests.kit.answering import Answer, Answerer

ISSUER = "https://tokens.test"
AUDIENCE = "kafka"
CLIENT, SECRET = "millrace app", "p@ss+word/1"
"""With characters that have to be encoded."""


class Signer:
    """One key, made for the run."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public_keys(self) -> str:
        """A JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        parts = {"n": _of_bytes(_octets(numbers.n)), "e": _of_bytes(_octets(numbers.e))}
        return json.dumps({"keys": [{"kty": "RSA", "kid": "kit", "use": "sig", "alg": "RS256", **parts}]})

    def token(self, subject: str, *, life_s: float, audience: str = AUDIENCE) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        now = datetime.now(UTC)  # noqa: TID251 - the broker that reads it has the system's clock
        claims = {
            "sub": subject,
            "iss": ISSUER,
            "aud": audience,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=life_s)).timestamp()),
        }
        signed = f"{_of_json({'alg': 'RS256', 'kid': 'kit', 'typ': 'JWT'})}.{_of_json(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_of_bytes(signature)}"


class TokenEndpoint:
    """`asked` are the forms of all requests; while `down`, none gets a token. `told_life_s` is what the answer says."""

    def __init__(self, signer: Signer, subject: str) -> None:
        self.asked: list[dict[str, str]] = []
        self.down = False
        self.life_s, self.told_life_s = 3600.0, 3600.0
        self.audience = AUDIENCE
        self.secret = SECRET
        self.url = ""
        self._signer, self._subject = signer, subject

    def answer(self, authorization: str, body: str) -> tuple[int, dict[str, Any]]:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.asked.append(form)
        if self.down:
            return 503, {"error": "temporarily_unavailable"}
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT, self.secret):
            return 401, {"error": "invalid_client", "error_description": "unknown client or wrong secret"}
        token = self._signer.token(self._subject, life_s=self.life_s, audience=self.audience)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.told_life_s}


@contextmanager
def token_endpoint(signer: Signer, subject: str) -> Iterator[TokenEndpoint]:
    """One that listens on loopback until the block ends."""
    endpoint = TokenEndpoint(signer, subject)

    def answering(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return *endpoint.answer(headers.get("Authorization", ""), body.decode()), {}

    server = Answerer(answering)
    endpoint.url = f"{server.url}/token"
    try:
        yield endpoint
    finally:
        server.end()


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _of_json(value: Any) -> str:
    return _of_bytes(json.dumps(value).encode())


def _of_bytes(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
