"""The `Secrets` port over Vault: values as they were read last, and not longer ago than is said."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.secrets.keys import spellings
from adapters.secrets.vault.client import NAME, Denied, Down, VaultClient
from adapters.secrets.vault.login import Login
from adapters.secrets.vault.session import Session
from contracts.errors import NotFound, Unavailable
from contracts.ports.clock import Clock
from contracts.ports.secrets import Secret

_logger = logging.getLogger("millrace.secrets")

TRIED_AGAIN_AFTER_S = 5.0
"""While it is down; in between nobody waits for an answer that does not come."""
MOST_PATHS = 1000
"""Of which values are kept."""
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
LONGEST_CHARS = 512


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The secret engine's mount, and the path below it of the secret in which keys are looked for. A key
    `PATH#KEY` is looked for in another one."""

    mount: str = "secret"
    path: str = "millrace"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one path held, and when that was read, on the clock's `monotonic`."""

    values: Mapping[str, str]
    version: int
    read_at: float

    def __repr__(self) -> str:
        return f"Held(version={self.version})"


class VaultSecrets:
    """An exchanged value is seen within `refresh_s`. While Vault is down, what was read before goes on being used for
    `keep_s`: health and the log say so. A right that is taken away counts at once."""

    def __init__(
        self,
        client: VaultClient,
        login: Login,
        *,
        clock: Clock,
        place: Place | None = None,
        refresh_s: float = 30.0,
        keep_s: float = 3600.0,
    ) -> None:
        self._client = client
        self._session = Session(client, login, clock)
        self._clock = clock
        self._place = place or Place()
        self._refresh_s = refresh_s
        self._keep_s = keep_s
        self._held: dict[str, Held] = {}
        self._reading = asyncio.Lock()
        self._down: Down | None = None
        self._tried_at = float("-inf")
        self._opened = False

    @property
    def address(self) -> str:
        return f"vault+{self._client.address}/{self._place.mount}/{self._place.path}"

    @property
    def seen_within_s(self) -> float:
        return self._refresh_s

    async def open(self) -> None:
        """Logs in, and sees that it may read. Raises `Unavailable`."""
        if self._opened:
            return
        try:
            await self._session.open()
            await self._values(self._place.path)
        except BaseException:
            await self.close()
            raise
        self._opened = True

    async def check(self) -> None:
        try:
            await self._with_token("GET", "auth/token/lookup-self")
        except Down as error:
            until_s = max(0.0, self._keep_s - self._oldest_s())
            raise Unavailable(NAME, f"{error.why}; what was read before is used for another {until_s:.0f} s") from None

    async def close(self) -> None:
        self._opened = False
        self._held.clear()
        await self._session.close()
        await self._client.close()

    async def get(self, key: str) -> Secret | None:
        """Raises `Unavailable` when Vault refuses, or is down and nothing that was read is young enough."""
        path, _, name = key.rpartition("#")
        path = path or self._place.path
        if not _PATH.fullmatch(path) or len(key) > LONGEST_CHARS:
            return None
        values = await self._values(path)
        return next((Secret(values[one]) for one in spellings(name) if values.get(one)), None)

    async def require(self, key: str) -> Secret:
        if (found := await self.get(key)) is not None:
            return found
        path, _, name = key.rpartition("#")
        names = " or ".join(spellings(name))
        place = f"{self._place.mount}/{path or self._place.path}"
        raise NotFound(f"there is no secret {key[:LONGEST_CHARS]!r}: put it into {place} in Vault, named {names}")

    def __repr__(self) -> str:
        return f"VaultSecrets({self.address!r})"

    async def _values(self, path: str) -> Mapping[str, str]:
        held = self._held.get(path)
        if held is not None and self._age_s(held) < self._refresh_s:
            return held.values
        async with self._reading:
            held = self._held.get(path)
            if held is not None and self._age_s(held) < self._refresh_s:
                return held.values
            try:
                return await self._read(path)
            except Down as error:
                return self._last_known(held, error)

    async def _read(self, path: str) -> Mapping[str, str]:
        if self._down is not None and self._clock.monotonic() - self._tried_at < TRIED_AGAIN_AFTER_S:
            raise Down(NAME, self._down.why)
        began_at = self._clock.monotonic()
        try:
            answer = await self._with_token("GET", f"{self._place.mount}/data/{path}")
        except Down as error:
            self._down, self._tried_at = error, self._clock.monotonic()
            raise
        except Denied as error:
            self._held.pop(path, None)
            rule = f'path "{self._place.mount}/data/{path}" {{ capabilities = ["read"] }}'
            raise Denied(NAME, f"{error.why}; give our policy: {rule}") from None
        if self._down is not None:
            self._down = None
            _logger.info("Vault answers again")
        return self._took(path, (answer or {}).get("data") or {}, began_at)

    def _took(self, path: str, data: Mapping[str, Any], read_at: float) -> Mapping[str, str]:
        values = {name: _text(value) for name, value in (data.get("data") or {}).items()}
        version = int((data.get("metadata") or {}).get("version") or 0)
        former = self._held.pop(path, None)
        if former is not None and former.version != version:
            _logger.info("%s/%s in Vault is now version %d", self._place.mount, path, version)
        if len(self._held) >= MOST_PATHS:
            del self._held[next(iter(self._held))]  # that which was read longest ago
        self._held[path] = Held(values=values, version=version, read_at=read_at)
        return values

    def _last_known(self, held: Held | None, error: Down) -> Mapping[str, str]:
        if held is None or self._age_s(held) > self._keep_s:
            raise Unavailable(NAME, f"{error.why}; nothing that was read within SECRETS_KEEP_S is there") from None
        if self._tried_at == self._clock.monotonic():
            _logger.warning("%s; what was read %.0f s ago is used", error, self._age_s(held))
        return held.values

    async def _with_token(self, method: str, path: str) -> dict[str, Any] | None:
        token = await self._session.token()
        try:
            return await self._client.ask(method, path, token=token)
        except Denied:
            # It may be that only the token has ended. Who was denied for want of a right is denied again.
            another = await self._session.replace(token)
            return await self._client.ask(method, path, token=another)

    def _age_s(self, held: Held) -> float:
        return self._clock.monotonic() - held.read_at

    def _oldest_s(self) -> float:
        return max((self._age_s(held) for held in self._held.values()), default=self._keep_s)


def _text(value: Any) -> str:
    """Numbers and structures as JSON, text as it is."""
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
