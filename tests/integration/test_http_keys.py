"""API keys: what each may, over the HTTP of a real worker, and how they are made and revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.api_keys.postgres import PostgresApiKeys
from adapters.clock.system import SystemClock
from adapters.database.postgres import PostgresDb
from contracts.api_key import ApiKey, digest_of, written
from contracts.errors import Conflict, NotFound, Unavailable
from contracts.ports import Secret
from runtime.http import keyring
from tests.integration.http_site import Site, as_json, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

CLOCK = SystemClock()
EVERY_SCOPE = ("admin", "operate", "view", "run:echo", "run:*", "publish:seen.raw", "read:orders")


class Keys:
    """Makes keys, beside the worker."""

    def __init__(self, db: PostgresDb) -> None:
        self.db = db
        self.port = PostgresApiKeys(db)

    async def make(self, name: str, *scopes: str, good_for_s: float | None = 3600.0) -> dict[str, str]:
        """The header that its holder sends."""
        key_id, secret = CLOCK.new_id()[-12:], Secret(name.ljust(43, "x").translate(str.maketrans(":*.", "-_-")))
        now = CLOCK.now()
        end = now + timedelta(seconds=good_for_s) if good_for_s is not None else None
        await self.port.add(
            ApiKey(id=key_id, name=name, digest=digest_of(secret), scopes=scopes, created_at=now, expires_at=end)
        )
        return {"Authorization": f"Bearer {written(key_id, secret).reveal()}"}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That keys are read again only after a while is no part of what is tried here."""
    monkeypatch.setattr(keyring, "FRESH_S", 0.0)


@pytest.fixture
async def site(database_url: str, tmp_path: Path, at_once: None) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


@pytest.fixture
def keys(db: PostgresDb) -> Keys:
    return Keys(db)


async def status(site: Site, key: dict[str, str] | None, method: str, path: str) -> int:
    body = {"json": {"text": "a"} if path.endswith("echo") else {"who": "a"}} if method == "POST" else {}
    return (await site.client.request(method, path, headers=key, **body)).status_code  # type: ignore[arg-type]


async def test_until_there_is_a_key_this_machine_is_answered_and_the_log_says_so(site: Site, keys: Keys) -> None:
    assert (await site.get("/jobs")).status_code == 200
    [line] = site.log_lines("http answers this machine only")
    assert "millrace keys create" in line
    key = await keys.make("first", "admin")
    refused = await site.get("/jobs")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert "millrace keys create" in as_json(refused)["detail"]
    assert (await site.get("/jobs", headers=key)).status_code == 200
    for path in ("/health/live", "/health/ready", "/health/startup", "/metrics"):
        assert (await site.get(path)).status_code == 200
    await keys.port.revoke("first")
    assert (await site.get("/jobs")).status_code == 401, "that all are revoked opens nothing"


async def test_each_scope_opens_what_it_says_and_nothing_else(site: Site, keys: Keys) -> None:
    made = {scope: await keys.make(scope, scope) for scope in EVERY_SCOPE}
    asked = {
        ("GET", "/"): set(EVERY_SCOPE),
        ("GET", "/docs/openapi.json"): set(EVERY_SCOPE),
        ("GET", "/jobs"): {"admin", "operate", "view"},
        ("GET", "/dead-letters"): {"admin", "operate", "view"},
        ("POST", "/jobs/none/cancel"): {"admin", "operate"},
        ("POST", "/commands/run.echo"): {"admin", "run:echo", "run:*"},
        ("POST", "/commands/run.held"): {"admin", "run:*"},
        ("POST", "/commands/seen.raw"): {"admin", "publish:seen.raw"},
    }
    for (method, path), opens in asked.items():
        let_in = {scope for scope, key in made.items() if await status(site, key, method, path) not in (401, 403)}
        assert let_in == opens, (method, path)
    refused = as_json(await site.get("/jobs", headers=made["run:echo"]))
    assert refused["detail"] == "the key 'run:echo' may not ask this: it needs the scope view"


async def test_keys_end_when_they_are_revoked_or_their_time_is_over(site: Site, keys: Keys) -> None:
    good, over = await keys.make("good", "view"), await keys.make("over", "view", good_for_s=-1)
    as_header = {"X-API-Key": good["Authorization"].removeprefix("Bearer ")}
    for header in (good, as_header):
        assert (await site.get("/jobs", headers=header)).status_code == 200
    assert (await site.get("/jobs", headers=over)).status_code == 401
    assert (await site.get("/jobs", headers={**good, **as_header})).status_code == 401, "two are none"
    wrong = {"Authorization": good["Authorization"][:-1] + "y"}
    assert (await site.get("/jobs", headers=wrong)).status_code == 401
    await keys.port.revoke("good")
    assert (await site.get("/jobs", headers=good)).status_code == 401


async def test_the_token_goes_on_working_beside_keys(database_url: str, tmp_path: Path, keys: Keys) -> None:
    key = await keys.make("k", "view")
    async with running(database_url, tmp_path, HTTP_TOKEN="s3cret-of-the-test") as site:
        assert (await site.get("/jobs", headers={"Authorization": "Bearer s3cret-of-the-test"})).status_code == 200
        assert (await site.get("/jobs", headers=key)).status_code == 200
        assert (await site.get("/jobs")).status_code == 401
        assert not site.log_lines("http answers this machine only")


async def test_who_asked_is_logged_and_remembered_and_no_secret_is(site: Site, keys: Keys) -> None:
    key = await keys.make("reports", "view")
    await site.get("/jobs", headers={**key, "X-Correlation-Id": "by-key"})
    [line] = site.log_lines("by-key")
    assert '"caller":"reports"' in line
    await site.get("/jobs", headers=key)
    [kept] = await keys.port.all()
    assert kept.last_used_at is not None
    secret = key["Authorization"].rpartition("_")[2]
    assert not site.log_lines(secret)
    assert secret not in repr(kept)
    assert "digest" not in repr(kept)
    row = await keys.db.fetch_one("select k::text as row from millrace.api_keys k")
    assert row is not None
    assert secret not in row["row"]


async def test_keys_outlive_a_short_outage_and_not_a_long_one(
    site: Site, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await keys.make("k", "view")
    assert (await site.get("/modules", headers=key)).status_code == 200

    async def down(*_: object) -> list[object]:
        raise Unavailable("the database", "it is away")

    monkeypatch.setattr(site.worker.adapters.db, "fetch", down)
    assert (await site.get("/modules", headers=key)).status_code == 200
    monkeypatch.setattr(keyring, "STALE_S", 0.0)
    unknown = await site.get("/modules", headers=key)
    assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "5")
    assert (await site.get("/health/live")).status_code == 200


async def test_keys_are_listed_and_a_name_is_free_again_after_its_key_is_revoked(keys: Keys) -> None:
    await keys.make("a", "view", good_for_s=None)
    with pytest.raises(Conflict, match="'a'"):
        await keys.make("a", "admin")
    revoked = await keys.port.revoke("a")
    assert (await keys.port.revoke(revoked.id)).revoked_at == revoked.revoked_at
    with pytest.raises(NotFound, match="'a'"):
        await keys.port.revoke("a")
    await keys.make("a", "admin")
    assert [(key.name, key.scopes, key.revoked_at is None) for key in await keys.port.all()] == [
        ("a", ("admin",), True),
        ("a", ("view",), False),
    ]
