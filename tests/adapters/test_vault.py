"""Vault that ends tokens, is sealed, goes away and comes back: at the kit's server, whose time can be made to pass."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.clock.manual import ManualClock
from adapters.secrets.vault.client import VaultClient
from adapters.secrets.vault.login import ByAppRole, ByServiceAccount, ByToken, Login
from adapters.secrets.vault.secrets import VaultSecrets
from contracts.errors import Unavailable
from contracts.ports.secrets import Secret
from tests.kit.vault.admin import VaultAdmin
from tests.kit.vault.server import VaultServer
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio

REFRESH_S, KEEP_S = 30.0, 600.0
VALUE = "hunter2"


@pytest.fixture
def server() -> Iterator[VaultServer]:
    made = VaultServer()
    yield made
    made.end()


@pytest.fixture
def admin(server: VaultServer) -> Iterator[VaultAdmin]:
    made = VaultAdmin(server.url)
    made.write("millrace", {"A": VALUE})
    yield made
    made.close()


@asynccontextmanager
async def opened(url: str, login: Login, clock: ManualClock, *, namespace: str = "") -> AsyncIterator[VaultSecrets]:
    client = VaultClient(url, clock=clock, namespace=namespace)
    secrets = VaultSecrets(client, login, clock=clock, refresh_s=REFRESH_S, keep_s=KEEP_S)
    try:
        await secrets.open()
        yield secrets
    finally:
        await secrets.close()


def role(admin: VaultAdmin, **more: str) -> ByAppRole:
    role_id, secret_id = admin.app_role("app", admin.allow("millrace"), **more)
    return ByAppRole("approle", role_id, Secret(secret_id))


async def elapse(server: VaultServer, clock: ManualClock, seconds: float) -> None:
    server.time.advance(seconds)
    await clock.advance(seconds)


async def asked(server: VaultServer, what: str, times: int = 1) -> None:
    await until(lambda: server.asked.count(what) >= times, what=f"{what}, {times} times")


RENEWAL, LOGIN, READ = "POST auth/token/renew-self", "POST auth/approle/login", "GET secret/data/millrace"


async def test_a_token_is_renewed_before_it_ends(server: VaultServer, admin: VaultAdmin, clock: ManualClock) -> None:
    token = admin.token(admin.allow("millrace"), ttl="60s")
    async with opened(server.url, ByToken(Secret(token), None), clock) as secrets:
        for times in range(1, 6):
            await clock.until_waiting()
            await elapse(server, clock, 41)
            await asked(server, RENEWAL, times)
            assert (await secrets.require("A")).reveal() == VALUE
    assert LOGIN not in server.asked


async def test_who_may_renew_no_longer_logs_in_again(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock
) -> None:
    async with opened(server.url, role(admin, token_ttl="60s", token_max_ttl="70s"), clock) as secrets:
        await clock.until_waiting()
        await elapse(server, clock, 41)
        await asked(server, LOGIN, 2)  # a renewal would have given 29 s
        assert server.asked.count(RENEWAL) == 1
        assert (await secrets.require("A")).reveal() == VALUE


async def test_a_token_that_was_revoked_is_replaced_at_the_next_look(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock
) -> None:
    async with opened(server.url, role(admin), clock) as secrets:
        admin.revoke((await secrets._session.token()).reveal())
        admin.write("millrace", {"A": "renewed"})
        await elapse(server, clock, REFRESH_S)
        assert (await secrets.require("A")).reveal() == "renewed"
        assert server.asked.count(LOGIN) == 2


async def test_a_token_in_a_file_is_taken_up_when_it_is_exchanged(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock, tmp_path: Path
) -> None:
    reader, file = admin.allow("millrace"), tmp_path / "token"
    file.write_text(first := admin.token(reader, ttl="60s", renewable=False))
    async with opened(server.url, ByToken(None, file), clock) as secrets:
        file.write_text(f"{admin.token(reader, ttl='1h')}\n")
        admin.revoke(first)
        await elapse(server, clock, REFRESH_S)
        assert (await secrets.require("A")).reveal() == VALUE
    (tmp_path / "token").unlink()
    with pytest.raises(Unavailable, match="must hold the token"):
        async with opened(server.url, ByToken(None, file), clock):
            pass


async def test_a_pod_logs_in_by_its_service_account(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first.of.pod")
    admin.kubernetes_role("app", admin.allow("millrace"), jwt="first.of.pod", token_ttl="60s", token_max_ttl="60s")
    async with opened(server.url, ByServiceAccount("kubernetes", "app", file), clock) as secrets:
        # Kubernetes has exchanged the pod's token by the time of the next login.
        file.write_text("second.of.pod")
        admin.kubernetes_role("app", admin.allow("millrace"), jwt="second.of.pod")
        await clock.until_waiting()
        await elapse(server, clock, 41)
        await asked(server, "POST auth/kubernetes/login", 2)
        assert (await secrets.require("A")).reveal() == VALUE
    with pytest.raises(Unavailable, match="check SECRETS_VAULT_ROLE") as raised:
        async with opened(server.url, ByServiceAccount("kubernetes", "nobody", file), clock):
            pass
    assert "of.pod" not in str(raised.value)


async def test_namespaces_are_apart(server: VaultServer, admin: VaultAdmin, clock: ManualClock) -> None:
    there = VaultAdmin(server.url, namespace="team-a")
    there.write("millrace", {"A": "of team a"})
    token = Secret(there.token(there.allow("millrace")))
    there.close()
    async with opened(server.url, ByToken(token, None), clock, namespace="team-a") as secrets:
        assert (await secrets.require("A")).reveal() == "of team a"


async def test_values_are_asked_for_once_in_a_while(server: VaultServer, admin: VaultAdmin, clock: ManualClock) -> None:
    async with opened(server.url, role(admin), clock) as secrets:
        for _ in range(50):
            await secrets.require("A")
        assert server.asked.count(READ) == 1
        await elapse(server, clock, REFRESH_S)
        await secrets.require("A")
        assert server.asked.count(READ) == 2


Breaking = Callable[[VaultServer], None]
BREAKS: dict[str, tuple[Breaking, str]] = {
    "gone": (lambda server: server.http.stop(), "All connection attempts failed"),
    "sealed": (lambda server: setattr(server, "sealed", True), "unseal it"),
    "overloaded": (lambda server: setattr(server, "overloaded", True), "rate limit"),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_while_it_is_down_what_was_read_is_used_up_to_a_bound(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    break_it, told = BREAKS[how]
    async with opened(server.url, role(admin), clock) as secrets:
        await secrets.check()
        break_it(server)
        await elapse(server, clock, REFRESH_S)
        with caplog.at_level(logging.WARNING):
            assert (await secrets.require("A")).reveal() == VALUE
            before = len(server.asked)
            assert (await secrets.require("A")).reveal() == VALUE
        assert len(server.asked) == before, "nobody waits for it at each look"
        assert "what was read 30 s ago is used" in caplog.text
        with pytest.raises(Unavailable, match=rf"{told}.*used for another 570 s"):
            await secrets.check()
        await elapse(server, clock, KEEP_S)
        with pytest.raises(Unavailable, match="nothing that was read within SECRETS_KEEP_S"):
            await secrets.require("A")
        assert VALUE not in caplog.text
        server.sealed = server.overloaded = False
        if how == "gone":
            server.http.start()
        await elapse(server, clock, 60)
        assert (await secrets.require("A")).reveal() == VALUE
        await secrets.check()


async def test_a_right_that_was_taken_away_counts_at_once(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock
) -> None:
    async with opened(server.url, role(admin), clock) as secrets:
        admin.allow("elsewhere")
        await elapse(server, clock, REFRESH_S)
        for _ in range(2):
            with pytest.raises(Unavailable, match="permission denied"):
                await secrets.require("A")


@pytest.mark.parametrize("how", BREAKS)
async def test_down_at_the_start_it_is_told(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock, how: str
) -> None:
    login = role(admin)
    break_it, told = BREAKS[how]
    break_it(server)
    with pytest.raises(Unavailable, match=told):
        async with opened(server.url, login, clock):
            pass


async def test_an_engine_that_is_not_there_is_told(server: VaultServer, clock: ManualClock) -> None:
    login = ByToken(Secret("kit-root"), None)
    with pytest.raises(Unavailable, match="no handler for route"):
        async with opened(f"{server.url}/v1/wrong", login, clock):
            pass


async def test_a_standby_sends_us_to_the_active_node(
    server: VaultServer, admin: VaultAdmin, clock: ManualClock
) -> None:
    standby = VaultServer()
    standby.redirects_to = server.url
    try:
        async with opened(standby.url, role(admin), clock) as secrets:
            assert (await secrets.require("A")).reveal() == VALUE
    finally:
        standby.end()


async def test_no_error_shows_a_token_or_a_value(server: VaultServer, admin: VaultAdmin, clock: ManualClock) -> None:
    token = admin.token(admin.allow("millrace"))
    async with opened(server.url, ByToken(Secret(token), None), clock) as secrets:
        server.http.stop()
        await elapse(server, clock, KEEP_S + 1)
        with pytest.raises(Unavailable) as raised:
            await secrets.require("A")
        text = "".join(traceback.format_exception(raised.value, chain=True))
        assert token not in text
        assert VALUE not in f"{text} {secrets!r} {vars(secrets)}"
