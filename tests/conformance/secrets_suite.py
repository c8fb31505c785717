"""What every Secrets promises."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping

import pytest

from contracts.errors import NotFound
from contracts.ports.secrets import Secret, Secrets

HELD: Mapping[str, str] = {
    "HTTP_TOKEN": "hunter2",
    "db-password": "p@ss word=1 # not a comment",
    "DB_PASSWORD": "the other one",
    "API_KEY": "ключ",
    "EMPTY": "",
}
"""What the secrets under test hold."""

Change = Callable[[str, str], Awaitable[None]]
Pass = Callable[[float], Awaitable[None]]


async def exercise_secrets(secrets: Secrets, change: Change, *, pass_time: Pass | None = None) -> None:
    """Run every promise of the port; `secrets` is open and holds `HELD`, `change` gives a key another value there.
    `pass_time` lets so many seconds of the adapter's clock go by, where it has one."""
    await _finds(secrets)
    await _tells_what_is_missing(secrets)
    await _keeps_values_to_itself(secrets)
    await _sees_changes(secrets, change, pass_time)
    await secrets.check()


async def _finds(secrets: Secrets) -> None:
    for asked, expected in (
        ("HTTP_TOKEN", "hunter2"),
        ("http-token", "hunter2"),
        ("http.token", "hunter2"),
        ("Http_Token", "hunter2"),
        ("db-password", "p@ss word=1 # not a comment"),
        ("db.password", "the other one"),
        ("api.key", "ключ"),
    ):
        found = await secrets.get(asked)
        assert found is not None, asked
        assert found.reveal() == expected
        assert (await secrets.require(asked)) == found


async def _tells_what_is_missing(secrets: Secrets) -> None:
    for missing in ("NOPE", "EMPTY", "", "../../etc/passwd", "a/b", "nul\0", ".", "x" * 5000):
        assert await secrets.get(missing) is None
        with pytest.raises(NotFound, match="there is no secret"):
            await secrets.require(missing)
    with pytest.raises(NotFound, match=r"'no-pe'.*NO_PE"):
        await secrets.require("no-pe")


async def _keeps_values_to_itself(secrets: Secrets) -> None:
    found = await secrets.require("HTTP_TOKEN")
    for text in (
        str(found),
        repr(found),
        f"{found}",
        repr(secrets),
        str(vars(found) if hasattr(found, "__dict__") else ""),
    ):
        assert "hunter2" not in text
    with pytest.raises(NotFound) as missing:
        await secrets.require("NOPE")
    assert "hunter2" not in "".join(traceback.format_exception(missing.value))
    assert "hunter2" not in secrets.address
    assert isinstance(found, Secret)


async def _sees_changes(secrets: Secrets, change: Change, pass_time: Pass | None) -> None:
    await change("HTTP_TOKEN", "renewed")
    if secrets.seen_within_s:
        assert pass_time is not None, "a bound on a clock that is not to be turned"
        await pass_time(secrets.seen_within_s)
    assert (await secrets.require("HTTP_TOKEN")).reveal() == "renewed"
