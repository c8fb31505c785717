"""A token that stays good: renewed while that helps, and fetched anew by another login when it does not."""

from __future__ import annotations

import asyncio
import logging

from adapters.bus.owned import OwnedTasks
from adapters.secrets.vault.client import Denied, VaultClient
from adapters.secrets.vault.login import Lease, Login, lease_in
from contracts.errors import Unavailable
from contracts.ports.clock import Clock
from contracts.ports.secrets import Secret

_logger = logging.getLogger("millrace.secrets")

RENEWED_AFTER = 2 / 3
"""Of its life; what remains is for the attempts that it takes."""
WORTH_RENEWING = 0.5
"""Of its first life: a renewal that gives less has come near to the most that Vault allows a token."""
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0


class Session:
    """One token for all requests, from `open` to `close`."""

    def __init__(self, client: VaultClient, login: Login, clock: Clock) -> None:
        self._client = client
        self._login = login
        self._clock = clock
        self._lease: Lease | None = None
        self._first_life_s = 0.0
        self._got_at = 0.0
        self._logging_in = asyncio.Lock()
        self._tasks = OwnedTasks("vault session")
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Raises `Down`, `Denied` or `Unavailable`."""
        await self.token()
        self._tasks.start(self._keep(), "renew")

    async def close(self) -> None:
        await self._tasks.close()
        self._lease = None

    async def token(self) -> Secret:
        """One that has not ended. Raises as `open`."""
        lease = self._lease
        return (await self._anew(lease)).token if lease is None or self._left_s() <= 0 else lease.token

    async def replace(self, refused: Secret) -> Secret:
        """Another one, for one that Vault does not take any more (it may have been revoked). Raises as `open`."""
        lease = self._lease
        if lease is not None and lease.token != refused:
            return lease.token
        return (await self._anew(lease)).token

    def _left_s(self) -> float:
        assert self._lease is not None
        if not self._lease.life_s:
            return float("inf")
        return self._got_at + self._lease.life_s - self._clock.monotonic()

    async def _anew(self, former: Lease | None) -> Lease:
        async with self._logging_in:
            if self._lease is not None and self._lease is not former:
                return self._lease  # another one has just done it
            return self._took(await self._login(self._client), first=True)

    def _took(self, lease: Lease, *, first: bool) -> Lease:
        self._lease, self._got_at = lease, self._clock.monotonic()
        if first:
            self._first_life_s = lease.life_s
        self._changed.set()
        return lease

    async def _keep(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await self._until_due()
            try:
                await self._renew()
                retry_s = FIRST_RETRY_S
            except Unavailable as error:
                _logger.warning("the token for Vault was not renewed: %s", error)
                await self._clock.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _until_due(self) -> None:
        while True:
            self._changed.clear()
            lease = self._lease
            assert lease is not None
            wait_s = self._got_at + lease.life_s * RENEWED_AFTER - self._clock.monotonic()
            if lease.life_s and wait_s <= 0:
                return
            try:
                async with self._clock.timeout(wait_s if lease.life_s else float(10**9)):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _renew(self) -> None:
        lease = self._lease
        assert lease is not None
        if lease.renewable and self._left_s() > 0:
            try:
                answer = await self._client.ask("POST", "auth/token/renew-self", token=lease.token, body={})
            except Denied as error:
                _logger.info("Vault does not renew the token, so we log in again: %s", error)
            else:
                renewed = lease_in(answer)
                if renewed is not None and renewed.life_s >= WORTH_RENEWING * self._first_life_s:
                    self._took(renewed, first=False)
                    return
        await self._anew(lease)
