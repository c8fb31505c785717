"""Settings that name a secret instead of holding it: `secret:NAME`, as a whole or in the place of a URL's password.

What is named is looked up for each connection, so that an exchanged secret needs no restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from contracts.errors import NotFound, Unavailable
from contracts.ports.secrets import Credential, Secret, Secrets, fixed
from runtime.settings import KEYS
from runtime.settings_types import NAMED

if TYPE_CHECKING:
    from runtime.settings import Settings


def name_in(setting: Secret | None) -> str:
    """The secret that a setting names; empty when it names none."""
    text = setting.reveal() if setting is not None else ""
    if "://" in text:
        try:
            text = unquote(urlsplit(text).password or "")
        except ValueError:
            return ""
    return text.removeprefix(NAMED) if text.startswith(NAMED) else ""


def named(settings: Settings) -> dict[str, str]:
    """The secrets that these settings name, by the keys of those that name them."""
    values = {key: getattr(settings, name) for name, key in KEYS.items()}
    return {key: name for key, value in values.items() if isinstance(value, Secret) and (name := name_in(value))}


def credential_of(setting: Secret, secrets: Callable[[], Secrets], *, key: str) -> Credential:
    """The text of a setting: looked up where it names a secret, else what it holds. `key` is what errors call it."""
    name = name_in(setting)
    return _looked_up(name, secrets, key) if name else fixed(setting)


def password_in(url: Secret, secrets: Callable[[], Secrets], *, key: str) -> tuple[str, Credential | None]:
    """The URL, and its password apart where that is named: the URL has none then."""
    name = name_in(url)
    if not name:
        return url.reveal(), None
    parts = urlsplit(url.reveal())
    user, _, place = parts.netloc.rpartition("@")
    left = f"{user.partition(':')[0]}@{place}"
    return urlunsplit(parts._replace(netloc=left)), _looked_up(name, secrets, key)


def _looked_up(name: str, secrets: Callable[[], Secrets], key: str) -> Credential:
    async def look_up() -> Secret:
        try:
            return await secrets().require(name)
        except NotFound as error:
            raise Unavailable("secrets", f"{key} names what is not there: {error}") from None

    return look_up
