from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from contracts.errors import Faults
from contracts.file_link import PLACE, SHORTEST_KEY, FileLinks
from contracts.ports.secrets import Secret, fixed

KEY = Secret("k" * SHORTEST_KEY)
PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def links(clock: ManualClock, key: Secret = KEY) -> FileLinks:
    return FileLinks(fixed(key), base_url="https://files.example/at/", clock=clock)


def told(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return unquote(parts.path.partition(PLACE)[2]), query["expires"][0], query["signature"][0]


@settings(max_examples=40)
@given(path=PATHS, expires_s=st.integers(1, 7 * 24 * 3600))
async def test_a_link_is_good_until_it_expires(path: str, expires_s: int) -> None:
    clock = ManualClock()
    one = links(clock)
    read, expires, signature = told(await one.make(path, expires_s=expires_s))
    assert read == path
    assert await one.refusal(path, expires=expires, signature=signature) == ""
    await clock.advance(expires_s)
    assert await one.refusal(path, expires=expires, signature=signature) == ""
    await clock.advance(1)
    assert "has expired" in await one.refusal(path, expires=expires, signature=signature)


@given(path=PATHS, other=PATHS, shift=st.integers(-5, 5), letter=st.integers(0, 63), text=st.text(max_size=80))
@settings(max_examples=40)
async def test_what_is_changed_is_refused(path: str, other: str, shift: int, letter: int, text: str) -> None:
    one = links(ManualClock())
    _, expires, signature = told(await one.make(path, expires_s=60))
    if other != path:
        assert await one.refusal(other, expires=expires, signature=signature)
    if shift:
        assert await one.refusal(path, expires=str(int(expires) + shift), signature=signature)
    flipped = signature[:letter] + ("0" if signature[letter] != "0" else "1") + signature[letter + 1 :]
    for wrong in (flipped, signature[:-1], signature.upper() if signature.upper() != signature else "", text, ""):
        assert await one.refusal(path, expires=expires, signature=wrong)
    assert await one.refusal(path, expires=text, signature=signature)
    assert await links(ManualClock(), Secret("K" * SHORTEST_KEY)).refusal(path, expires=expires, signature=signature)


async def test_what_no_link_can_have() -> None:
    with pytest.raises(Faults, match="openssl rand") as caught:
        await links(ManualClock(), Secret("hunter2")).make("a", expires_s=1)
    assert "hunter2" not in str(caught.value)
    for wrong in (0.0, -1.0, float("nan"), 7 * 24 * 3600 + 1.0):
        with pytest.raises(ValueError, match="from 1 to 604800"):
            await links(ManualClock()).make("a", expires_s=wrong)
