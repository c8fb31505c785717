"""Users of Redis who may do only what their rules allow."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.kit.services import Running


@asynccontextmanager
async def redis_user(server: Running, *rules: str) -> AsyncIterator[str]:
    """The URL for a new user with these ACL rules, such as `~orders:*` and `+@stream`; gone when the block ends.

    Without rules a user may do nothing.
    """
    from redis.asyncio import Redis

    name, password = f"kit-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    parts = urlsplit(server.url)
    async with Redis.from_url(server.url) as client:
        admin: Any = client  # redis-py leaves its commands without types
        await admin.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
        try:
            place = parts.netloc.rpartition("@")[2]
            yield urlunsplit(parts._replace(netloc=f"{name}:{password}@{place}"))
        finally:
            await admin.execute_command("ACL", "DELUSER", name)
