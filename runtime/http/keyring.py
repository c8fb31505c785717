"""The API keys as this process knows them: read again when they are asked for and are not fresh any more.

So a key that is made or revoked is one here within `FRESH_S`. While the database can't be asked the last known ones go
on, for `STALE_S`: an outage of seconds locks nobody out, and one of minutes keeps no revoked key alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from contracts.api_key import ApiKey, Caller, parts_of
from contracts.errors import MillraceError
from contracts.ports import Clock, Log
from contracts.ports.api_keys import ApiKeys

FRESH_S = 3.0
STALE_S = 60.0
AGAIN_S = 0.2
"""After a look that failed: the database may just not be open yet."""
ASK_TIMEOUT_S = 2.0


class Known:
    """The keys at one moment, by id. Implements `Keys` of the admission."""

    def __init__(self, keys: Iterable[ApiKey], clock: Clock) -> None:
        self._keys = {key.id: key for key in keys}
        self._clock = clock
        self.used: set[str] = set()

    @property
    def guards(self) -> bool:
        """Whether a key was ever made: then nobody is answered without one, even when all are revoked."""
        return bool(self._keys)

    def caller(self, given: str) -> Caller | None:
        """Whose key this is; None when it is nobody's, revoked or expired."""
        parts = parts_of(given)
        key = self._keys.get(parts[0]) if parts else None
        if parts is None or key is None or not key.opens(parts[1], now=self._clock.now()):
            return None
        self.used.add(key.id)
        return Caller(key.name, key.scopes)


class Keyring:
    """Requests that come together share one look."""

    def __init__(self, keys: ApiKeys, clock: Clock, log: Log) -> None:
        self._keys = keys
        self._clock = clock
        self._log = log
        self._looking = asyncio.Lock()
        self._known: Known | None = None
        self._known_at = self._look_at = float("-inf")

    @property
    def last(self) -> Known | None:
        """What is known without asking anybody; None when that is nothing, or too old. That there is no key at all
        stays true until one is seen."""
        known = self._known
        if known is None or not known.guards:
            return known
        return known if self._clock.monotonic() - self._known_at <= STALE_S else None

    async def known(self) -> Known | None:
        """The keys; None when they can't be known now."""
        if self._clock.monotonic() >= self._look_at:
            async with self._looking:
                if self._clock.monotonic() >= self._look_at:
                    await self._look()
        return self.last

    async def _look(self) -> None:
        began_at = self._clock.monotonic()
        used = self._known.used if self._known else set()
        try:
            async with self._clock.timeout(ASK_TIMEOUT_S):
                if used:
                    await self._keys.used(used)
                self._known = Known(await self._keys.all(), self._clock)
            self._known_at, self._look_at = began_at, began_at + FRESH_S
        except (MillraceError, TimeoutError) as error:
            self._look_at = self._clock.monotonic() + AGAIN_S
            self._log.debug("the API keys can't be read", why=str(error))
