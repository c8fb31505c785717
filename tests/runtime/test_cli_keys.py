"""`millrace keys`, on a real database."""

from __future__ import annotations

import pytest

from contracts.api_key import allows, parts_of
from tests.kit.command_line import CommandLine

pytestmark = [pytest.mark.integration]


def test_a_key_is_made_shown_once_listed_and_revoked(with_database: CommandLine) -> None:
    scopes = ("--scope", "read:orders", "--scope", "view")
    made = with_database("keys", "create", "reports", *scopes, "--expires", "90d", "--output", "json")
    assert made.code == 0, made.err
    told = made.json()
    assert (told["name"], told["state"], told["scopes"]) == ("reports", "good", ["read:orders", "view"])
    parts = parts_of(told["key"])
    assert parts is not None
    assert parts[0] == told["id"]
    listed = with_database("keys", "list", "--output", "json")
    assert [line["name"] for line in listed.json()] == ["reports"]
    secret = parts[1].reveal()
    assert secret not in listed.out
    again = with_database("keys", "create", "reports", "--scope", "view")
    assert (again.code, "'reports' already" in again.err) == (1, True)
    revoked = with_database("keys", "revoke", told["id"], "--output", "json")
    assert [line["state"] for line in revoked.json()] == ["revoked"]
    assert with_database("keys", "revoke", "reports").code == 1


def test_every_fault_of_a_key_is_told_at_once(with_database: CommandLine) -> None:
    refused = with_database("keys", "create", "-", "--scope", "everything", "--expires", "soon")
    assert refused.code == 2
    assert all(word in refused.err for word in ("NAME", "--scope", "--expires"))
    assert with_database("keys", "create", "x").code == 2


def test_a_key_can_be_made_before_anything_has_run(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url)
    made = millrace("keys", "create", "first", "--scope", "admin", "--expires", "never", "--output", "json")
    assert made.json()["expires_at"] is None


def test_a_database_that_is_gone_at_the_end_keeps_no_keys(millrace: CommandLine) -> None:
    refused = millrace("--db", "memory", "keys", "create", "x", "--scope", "admin")
    assert (refused.code, "a database that stays" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("scopes", "needed", "allowed"),
    [
        (("admin",), "run:x", True),
        (("run:*",), "run:x", True),
        (("run:x",), "run:x", True),
        (("run:x",), "run:xy", False),
        (("read:*",), "run:x", False),
        (("operate",), "view", True),
        (("view",), "operate", False),
        ((), "any", True),
        ((), "admin", False),
        (("read:*",), "admin", False),
    ],
)
def test_what_a_scope_allows(scopes: tuple[str, ...], needed: str, allowed: bool) -> None:
    assert allows(scopes, needed) is allowed
