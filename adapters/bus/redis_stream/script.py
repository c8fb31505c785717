"""The Lua scripts: what must happen as one in Redis, on its clock."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from pathlib import Path

import msgspec

_HERE = Path(__file__).parent / "scripts"


class Script(msgspec.Struct, frozen=True):
    """Its text, and the digest by which a server knows it once it has seen it."""

    text: str
    digest: str


@cache
def script(name: str) -> Script:
    """By the name of its file."""
    text = (_HERE / "prelude.lua").read_text() + (_HERE / f"{name}.lua").read_text()
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
