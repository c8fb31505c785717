"""A password of Redis that is looked up for each connection, so that one that was exchanged is taken up."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit, urlunsplit

from redis.credentials import CredentialProvider

from contracts.ports.secrets import Credential


class LookedUp(CredentialProvider):
    """A user's password as it is when a connection is made."""

    def __init__(self, user: str, password: Credential) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        raise NotImplementedError("connections are made by the event loop, which awaits the password")

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        password = (await self._password()).reveal()
        return (self._user, password) if self._user else (password,)


def without_user(url: str) -> tuple[str, str]:
    """The URL, and its user apart."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), unquote(parts.username or "")
