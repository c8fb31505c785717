"""Tokens with their leases: https://developer.hashicorp.com/vault/api-docs/auth/token"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec


class Passing:
    """Time that can be made to pass."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.perf_counter() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


class Token(msgspec.Struct, kw_only=True):
    policies: Sequence[str]
    ttl_s: float
    """0: without end."""
    most_s: float
    """Of its whole life; 0: as long as it is renewed."""
    made_at: float
    ends_at: float
    renewable: bool


class Tokens:
    """Those of one server."""

    def __init__(self, time: Passing) -> None:
        self._time = time
        self._known: dict[str, Token] = {}

    def make(self, *, policies: Sequence[str], ttl_s: float, most_s: float = 0, renewable: bool = True) -> str:
        text = f"hvs.{secrets.token_urlsafe(18)}"
        now = self._time.now()
        ends_at = now + ttl_s if ttl_s else float("inf")
        self._known[text] = Token(
            policies=policies, ttl_s=ttl_s, most_s=most_s, made_at=now, ends_at=ends_at, renewable=renewable
        )
        return text

    def find(self, text: str) -> Token | None:
        found = self._known.get(text)
        return found if found is not None and found.ends_at > self._time.now() else None

    def renew(self, token: Token) -> None:
        """Never beyond the most that it may live."""
        most_at = token.made_at + token.most_s if token.most_s else float("inf")
        token.ends_at = min(self._time.now() + token.ttl_s, most_at)

    def revoke(self, text: str) -> None:
        self._known.pop(text, None)

    def left_s(self, token: Token) -> int:
        return 0 if not token.ttl_s else round(token.ends_at - self._time.now())

    def auth(self, text: str) -> dict[str, Any]:
        """As logins and renewals answer."""
        token = self._known[text]
        about = {"client_token": text, "policies": list(token.policies), "renewable": token.renewable}
        return {"auth": about | {"lease_duration": self.left_s(token)}}
