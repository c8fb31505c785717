"""Secrets in Vault: the port's promises at the Vault that is there, a container or the kit's server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from adapters.clock.manual import ManualClock
from adapters.secrets.vault.client import VaultClient
from adapters.secrets.vault.login import ByAppRole, ByToken, Login
from adapters.secrets.vault.secrets import Place, VaultSecrets
from contracts.errors import Unavailable
from contracts.ports.secrets import Secret
from tests.conformance.secrets_suite import HELD, exercise_secrets
from tests.kit import services
from tests.kit.vault.admin import VaultAdmin

pytestmark = pytest.mark.anyio


@pytest.fixture
def admin(vault: services.Running) -> Iterator[VaultAdmin]:
    made = VaultAdmin(vault.url)
    yield made
    made.close()


@asynccontextmanager
async def opened(url: str, login: Login, clock: ManualClock, *, path: str) -> AsyncIterator[VaultSecrets]:
    secrets = VaultSecrets(VaultClient(url, clock=clock), login, clock=clock, place=Place(path=path))
    await secrets.open()
    try:
        yield secrets
    finally:
        await secrets.close()


async def exercised(secrets: VaultSecrets, admin: VaultAdmin, clock: ManualClock, *, path: str) -> None:
    async def change(key: str, value: str) -> None:
        admin.write(path, {**HELD, key: value})

    await exercise_secrets(secrets, change, pass_time=clock.advance)


async def test_by_token(vault: services.Running, admin: VaultAdmin, clock: ManualClock) -> None:
    admin.write("by-token", HELD)
    token = admin.token(admin.allow("by-token", policy="by-token"))
    async with opened(vault.url, ByToken(Secret(token), None), clock, path="by-token") as secrets:
        await exercised(secrets, admin, clock, path="by-token")
        assert token not in f"{secrets!r} {secrets.address}"


async def test_by_app_role(vault: services.Running, admin: VaultAdmin, clock: ManualClock) -> None:
    admin.write("by-role", HELD)
    role_id, secret_id = admin.app_role("by-role", admin.allow("by-role", policy="by-role"), token_ttl="1h")
    login = ByAppRole("approle", role_id, Secret(secret_id))
    async with opened(vault.url, login, clock, path="by-role") as secrets:
        await exercised(secrets, admin, clock, path="by-role")


async def test_a_wrong_token_and_a_missing_right_are_told(
    vault: services.Running, admin: VaultAdmin, clock: ManualClock
) -> None:
    admin.write("closed", HELD)
    for login, told in (
        (ByToken(Secret("hvs.wrong"), None), "the token has ended or is wrong: give a new one"),
        (ByToken(Secret(admin.token("default")), None), 'path "secret/data/closed" { capabilities = ["read"] }'),
        (ByAppRole("approle", "nobody", Secret("geheim")), "check SECRETS_VAULT_ROLE_ID"),
        (ByToken(None, None), "set SECRETS_VAULT_TOKEN"),
    ):
        with pytest.raises(Unavailable) as raised:
            async with opened(vault.url, login, clock, path="closed"):
                pass
        assert told in str(raised.value)
        assert "geheim" not in str(raised.value)
        assert "hvs." not in str(raised.value)


async def test_a_key_may_name_a_path(vault: services.Running, admin: VaultAdmin, clock: ManualClock) -> None:
    admin.write("first", HELD)
    admin.write("second/place", {"password": "there", "port": 5432, "nested": {"a": [1]}})
    token = admin.token(admin.allow("first", "second/*", policy="paths"))
    async with opened(vault.url, ByToken(Secret(token), None), clock, path="first") as secrets:
        assert (await secrets.require("second/place#password")).reveal() == "there"
        assert (await secrets.require("second/place#port")).reveal() == "5432"
        assert (await secrets.require("second/place#nested")).reveal() == '{"a":[1]}'
        assert await secrets.get("second/other#password") is None
        for wrong in ("../sys/seal#x", "second/../first#HTTP_TOKEN", "/second/place#password", "second//place#x"):
            assert await secrets.get(wrong) is None
        admin.delete("second/place")
        await clock.advance(secrets.seen_within_s)
        assert await secrets.get("second/place#password") is None
