"""Links to local files: URLs by which anybody may read one path for a while, and what makes them hard to forge.

The adapter makes them and the HTTP of a worker serves them; they share a key, and nothing else.

    BASE/files/PATH?expires=SECONDS&signature=HMAC-SHA256 of both, in hex
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote, urlencode

from contracts.errors import Faults
from contracts.ports.clock import Clock
from contracts.ports.files import LONGEST_LINK_S
from contracts.ports.secrets import Credential

PLACE = "/files/"
"""Where a worker serves them."""
SHORTEST_KEY = 32
"""Characters; a guessed key opens every file."""


def check_lifetime(expires_s: float) -> None:
    """Raises `ValueError` for one that no link can have."""
    if not 1 <= expires_s <= LONGEST_LINK_S:
        raise ValueError(f"expires_s={expires_s} must be from 1 to {LONGEST_LINK_S} (7 days)")


class FileLinks:
    """`base_url` is where HTTP is reached by those who get the links. The key is looked up each time: another one ends
    every link. Both methods raise `Faults` for a key that is too short."""

    def __init__(self, key: Credential, *, base_url: str, clock: Clock) -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    async def make(self, path: str, *, expires_s: float) -> str:
        """Raises `ValueError` for a lifetime that no link can have."""
        check_lifetime(expires_s)
        expires = str(int(self._clock.now().timestamp() + expires_s))
        query = urlencode({"expires": expires, "signature": await self._signature(path, expires)})
        return f"{self._base_url}{PLACE}{quote(path)}?{query}"

    async def refusal(self, path: str, *, expires: str, signature: str) -> str:
        """Why such a link is not good; empty when it is."""
        # The signature comes first, and takes as long for a wrong one as for a right one.
        told = signature.encode("utf-8", "replace")
        if not hmac.compare_digest(told, (await self._signature(path, expires)).encode()):
            return "this link was not made here, or was changed: ask for a new one"
        if int(expires) < self._clock.now().timestamp():
            return "this link has expired: ask for a new one"
        return ""

    async def _signature(self, path: str, expires: str) -> str:
        key = (await self._key()).reveal().encode()
        if len(key) < SHORTEST_KEY:
            raise Faults(
                "files", [f"FS_LOCAL_LINK_KEY has fewer than {SHORTEST_KEY} characters: take `openssl rand -hex 32`"]
            )
        # Neither a newline nor anything else can move from one part to the other: `expires` has a line of its own.
        said = f"millrace file link\n{expires.encode().hex()}\n{path}".encode("utf-8", "surrogatepass")
        return hmac.new(key, said, hashlib.sha256).hexdigest()
