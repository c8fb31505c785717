"""How one logs in: by a name and a password that is looked up anew for each connection."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts.errors import Unavailable
from contracts.ports.secrets import Credential

LOOK_UP_TIMEOUT_S = 5.0


def make_login(user: str, password: Credential, loop: asyncio.AbstractEventLoop) -> Any:
    """The driver's `AuthProvider`. It is asked in the driver's threads, and looks the password up on `loop`."""
    from cassandra.auth import AuthProvider, PlainTextAuthenticator

    async def look_up() -> str:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            return (await password()).reveal()

    class Login(AuthProvider):  # type: ignore[misc]
        """Holds no password."""

        def new_authenticator(self, host: object) -> Any:
            asked = asyncio.run_coroutine_threadsafe(look_up(), loop)
            try:
                return PlainTextAuthenticator(user, asked.result(2 * LOOK_UP_TIMEOUT_S))
            except TimeoutError:
                raise Unavailable("secrets", f"no password within {LOOK_UP_TIMEOUT_S:g} s") from None

    return Login()
