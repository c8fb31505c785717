"""The Lua scripts: what must happen as one in Redis, on its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, ResponseError

Command = tuple[Any, ...]
"""Texts, bytes and whole numbers."""
Exchange = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Commands to replies; errors of single commands are among them."""
Wanted = tuple[str, Sequence[str], Sequence[str | bytes | int]]
"""A script by name, its keys and its arguments."""

HEAD = "#!lua flags=allow-oom\n"  # they write little and free much: a full server must let them
NO_HEAD = "unexpected symbol near '#'"
"""What Redis 6 says of it."""

_HERE = Path(__file__).parent / "scripts"


class Script(msgspec.Struct, frozen=True):
    """Its text, and the digest by which a server knows it once it has seen it."""

    text: str
    digest: str


@cache
def script(name: str, *, headed: bool) -> Script:
    """By the name of its file."""
    text = (_HERE / "prelude.lua").read_text() + (_HERE / f"{name}.lua").read_text()
    if headed:
        text = HEAD + text
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Scripts:
    """Runs them on one server: by their digests, and by their texts those that it doesn't know (any more)."""

    def __init__(self) -> None:
        self._headed = True

    async def run(self, exchange: Exchange, wanted: Sequence[Wanted]) -> list[Any]:
        """The replies in order; errors are among them."""
        replies = await exchange([self._by_digest(each) for each in wanted])
        await self._again(exchange, wanted, replies, NoScriptError, "")
        if self._headed and any(_is(reply, ResponseError, NO_HEAD) for reply in replies):
            self._headed = False
            await self._again(exchange, wanted, replies, ResponseError, NO_HEAD)
        return replies

    async def _again(
        self,
        exchange: Exchange,
        wanted: Sequence[Wanted],
        replies: list[Any],
        kind: type[ResponseError],
        text: str,
    ) -> None:
        """Those that failed so, by their texts."""
        failed = [at for at, reply in enumerate(replies) if _is(reply, kind, text)]
        if failed:
            found = await exchange([self._by_text(wanted[at]) for at in failed])
            for at, reply in zip(failed, found, strict=True):
                replies[at] = reply

    def _by_digest(self, wanted: Wanted) -> Command:
        name, keys, arguments = wanted
        return ("EVALSHA", script(name, headed=self._headed).digest, len(keys), *keys, *arguments)

    def _by_text(self, wanted: Wanted) -> Command:
        name, keys, arguments = wanted
        return ("EVAL", script(name, headed=self._headed).text, len(keys), *keys, *arguments)


def _is(reply: Any, kind: type[ResponseError], text: str) -> bool:
    return isinstance(reply, kind) and text in str(reply)
