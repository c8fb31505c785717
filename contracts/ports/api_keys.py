"""The API keys of an installation, kept beside its ledger."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from contracts.api_key import ApiKey


class ApiKeys(Protocol):
    """A handful of keys, up to some thousands. Each method raises `Unavailable` while the database is."""

    async def all(self) -> list[ApiKey]:
        """Every key that was made, the newest first, those that are revoked or expired included."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Raises `Conflict` when a key that is not revoked has its name."""
        ...

    async def revoke(self, word: str) -> ApiKey:
        """The key of this id, or of this name that is not revoked. Idempotent by id. Raises `NotFound`."""
        ...

    async def used(self, ids: Collection[str]) -> None:
        """They were used now; told as `last_used_at`, at most once a minute for each."""
        ...
