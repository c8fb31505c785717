"""Secrets in environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.secrets.keys import spellings
from contracts.errors import NotFound
from contracts.ports.secrets import Secret


class EnvSecrets:
    """Looks keys up in `environ` at each call. An empty variable counts as missing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @property
    def address(self) -> str:
        return "environment"

    @property
    def seen_within_s(self) -> float:
        return 0.0

    async def open(self) -> None:
        """Nothing to open."""

    async def check(self) -> None:
        """The environment is always there."""

    async def close(self) -> None:
        """Nothing to close."""

    async def get(self, key: str) -> Secret | None:
        for name in spellings(key):
            if value := self._environ.get(name):
                return Secret(value)
        return None

    async def require(self, key: str) -> Secret:
        if (found := await self.get(key)) is not None:
            return found
        raise NotFound(f"there is no secret {key!r}: set {spellings(key)[-1]} in the environment")

    def __repr__(self) -> str:
        return "EnvSecrets()"
