"""API keys: who may ask what over HTTP.

A key is `mrk_ID_SECRET`. The secret is 256 random bits, so its plain SHA-256 is kept: what makes a slow hash worth its
time, that passwords can be guessed, isn't so here. Nobody can be told a key again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.ports.secrets import Secret

ADMIN = "admin"
OPERATE = "operate"
VIEW = "view"
ANY = "any"
"""What every key may."""

SCOPE = r"^(admin|operate|view|(read|run|publish):(\*|[a-z][a-z0-9_.-]{0,200}))$"
Scope = Annotated[
    str,
    Meta(
        pattern=SCOPE,
        description="admin, operate, view, or read:RESOURCE, run:JOB, publish:ADDRESS, with * for all of them.",
    ),
]
_KEY = re.compile(r"mrk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept. `digest` is the SHA-256 of its secret; `last_used_at` is told about once a minute."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    digest: bytes = b""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def opens(self, secret: Secret, *, now: datetime) -> bool:
        """Whether this is its secret, and its time has not run out."""
        same = hmac.compare_digest(digest_of(secret), self.digest)
        return same and self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def __repr__(self) -> str:
        return f"ApiKey({self.id}, {self.name!r}, {', '.join(self.scopes)})"


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the name of a key, or what else let it in, and what it may."""

    name: str
    scopes: tuple[str, ...] = ()

    def may(self, scope: str) -> bool:
        return allows(self.scopes, scope)


def allows(scopes: Sequence[str], needed: str) -> bool:
    """Whether these scopes have the one that is needed. Who operates may look, too."""
    kind, _, name = needed.partition(":")
    return (
        ADMIN in scopes
        or needed == ANY
        or needed in scopes
        or (name != "" and f"{kind}:*" in scopes)
        or (needed == VIEW and OPERATE in scopes)
    )


def written(key_id: str, secret: Secret) -> Secret:
    """The key as its holder sends it."""
    return Secret(f"mrk_{key_id}_{secret.reveal()}")


def parts_of(given: str) -> tuple[str, Secret] | None:
    """Id and secret of what was sent; None when it is no key at all."""
    found = _KEY.fullmatch(given)
    return (found[1], Secret(found[2])) if found else None


def digest_of(secret: Secret) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.reveal().encode()).digest()
