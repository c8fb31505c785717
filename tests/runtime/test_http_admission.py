from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from contracts.ports import Secret
from runtime.http import admission
from runtime.http.admission import FORWARDED, PUBLIC, Asked, Refusal, Rules
from runtime.http.keyring import Known

OPEN = Rules(token=None, on_loopback=True, hosts=frozenset({"localhost"}))
WITH_TOKEN = Rules(token=Secret("s3cret"), on_loopback=True, hosts=frozenset({"localhost"}))
BEYOND = Rules(token=None, on_loopback=False, hosts=frozenset({"localhost"}))
BEYOND_WITH_TOKEN = Rules(token=Secret("s3cret"), on_loopback=False, hosts=frozenset({"localhost", "jobs.example"}))
NO_KEYS = Known([], ManualClock())
BEARER = {"authorization": "Bearer s3cret"}
JSON = {"content-type": "application/json", "content-length": "2"}


def ask(rules: Rules, path: str = "/jobs", method: str = "GET", peer: str | None = "127.0.0.1", **headers: Any) -> int:
    """The status of the refusal, 0 when there is none."""
    refusal = refusal_of(rules, path, method, peer, headers)
    return refusal.status if refusal else 0


def refusal_of(
    rules: Rules, path: str = "/jobs", method: str = "GET", peer: str | None = "127.0.0.1", headers: Any = None
) -> Refusal | None:
    given = {"host": "localhost:8080"} | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    asked = Asked(
        method=method,
        path=path,
        peer=peer,
        local="10.0.0.7" if peer and peer.startswith("10.") else "127.0.0.1",
        local_port=8080,
        headers={name: [value] for name, value in given.items() if value is not None},
    )
    admitted = admission.admit(rules, asked, NO_KEYS)
    return admitted if isinstance(admitted, Refusal) else None


def test_on_loopback_everything_answers() -> None:
    assert ask(OPEN) == 0
    assert ask(OPEN, peer="::1") == 0
    assert ask(OPEN, peer="::ffff:127.0.0.1") == 0
    assert ask(OPEN, "/commands/run.x", "POST", **JSON) == 0


@pytest.mark.parametrize("peer", ["10.0.0.9", "8.8.8.8", "::ffff:10.0.0.9", "fe80::1%eth0", "", None, "localhost"])
def test_beyond_loopback_only_health_and_metrics_answer_without_a_token(peer: str | None) -> None:
    for rules in (OPEN, BEYOND):
        assert ask(rules, peer=peer) == 403
        for path in PUBLIC:
            assert ask(rules, path, peer=peer, host="whatever.example") == 0


def test_a_server_that_others_can_reach_wants_a_token_from_everybody() -> None:
    assert ask(BEYOND) == 403
    assert ask(BEYOND_WITH_TOKEN) == 401
    assert ask(BEYOND_WITH_TOKEN, **BEARER) == 0
    assert ask(BEYOND_WITH_TOKEN, peer="10.0.0.9", host="jobs.example", **BEARER) == 0


@pytest.mark.parametrize("header", FORWARDED)
def test_a_forwarded_header_can_only_close(header: str) -> None:
    for said in ("127.0.0.1", "for=127.0.0.1", ""):
        assert refusal_of(OPEN, peer="10.0.0.9", headers={header: said}) is not None
        assert refusal_of(OPEN, headers={header: said}) is not None


def test_with_a_token_everything_but_health_and_metrics_needs_it() -> None:
    assert ask(WITH_TOKEN) == 401
    assert ask(WITH_TOKEN, "/docs") == 401
    assert ask(WITH_TOKEN, **BEARER) == 0
    assert ask(WITH_TOKEN, authorization="bearer s3cret") == 0
    assert all(ask(WITH_TOKEN, path) == 0 for path in PUBLIC)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretX", "Basic s3cret", "s3cret", "Bearer s3cr\xe9t"]
)
def test_nothing_but_the_token_opens(given: str) -> None:
    assert ask(WITH_TOKEN, authorization=given) == 401


def test_a_link_to_a_file_is_let_through_to_where_its_signature_is_looked_at() -> None:
    for rules in (OPEN, WITH_TOKEN, BEYOND):
        assert ask(rules, "/files/a.csv", peer="10.0.0.9", host="whatever.example") == 0
        assert ask(rules, "/files/a.csv", "HEAD", peer="10.0.0.9", host="whatever.example") == 0
        assert ask(rules, "/files/a.csv", "POST", peer="10.0.0.9", host="whatever.example", **JSON) != 0
        assert ask(rules, "/filesystem", peer="10.0.0.9") != 0
    assert ask(Rules(token=None, on_loopback=True, metrics_port=8080), "/files/a.csv") == 404


def test_two_authorizations_are_none() -> None:
    headers = {"host": ["localhost"], "authorization": ["Bearer s3cret", "Bearer s3cret"]}
    asked = Asked(method="GET", path="/jobs", peer="127.0.0.1", local=None, local_port=8080, headers=headers)
    assert isinstance(admission.admit(WITH_TOKEN, asked, NO_KEYS), Refusal)


def test_a_refusal_says_what_to_do_and_never_the_token() -> None:
    refusals = [refusal_of(rules) for rules in (BEYOND, WITH_TOKEN)]
    for refusal in refusals:
        assert refusal is not None
        assert "HTTP_TOKEN" in refusal.error
        assert "s3cret" not in str(refusal)
    assert "s3cret" not in repr(WITH_TOKEN)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080", "127.1.2.3"],
)
def test_its_own_names_are_known(host: str) -> None:
    assert ask(OPEN, host=host) == 0


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.7", ""),
        *("localhost:x", "localhost:", "[::1", "[evil]", "::1:8080", "[::1]x", "127.0.0.1@evil.example", None),
    ],
)
def test_another_name_that_leads_here_is_refused(host: str | None) -> None:
    assert ask(OPEN, host=host) == 421
    assert ask(OPEN, "/metrics", host=host) == 421
    assert ask(WITH_TOKEN, host=host, **BEARER) == 421


def test_the_address_that_was_connected_to_is_a_name() -> None:
    assert ask(BEYOND_WITH_TOKEN, peer="10.0.0.9", host="10.0.0.7:8080", **BEARER) == 0
    assert ask(BEYOND_WITH_TOKEN, peer="10.0.0.9", host="10.0.0.8:8080", **BEARER) == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 0),
        ({"sec_fetch_site": "none"}, 0),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[evil"}, 403),
        ({"origin": "http://localhost:8080"}, 0),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": "application/json; charset=utf-8"}, 0),
        ({"content_type": "text/plain; x=application/json"}, 415),
        ({"content_type": None}, 415),
        ({"content_type": None, "content_length": None, "transfer_encoding": "chunked"}, 415),
        ({"content_type": None, "content_length": "0"}, 0),
        ({"content_type": None, "content_length": None}, 0),
        ({"content_type": "text/plain", "content_length": None}, 415),
        ({"content_encoding": "gzip"}, 415),
    ],
)
def test_a_web_page_can_not_post(headers: dict[str, Any], status: int) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(OPEN, "/commands/run.x", method, **(JSON | {"content_type": "application/json"} | headers)) == status


def test_the_port_for_metrics_has_nothing_else() -> None:
    rules = Rules(token=None, on_loopback=True, hosts=frozenset({"localhost"}), metrics_port=8080)
    assert ask(rules) == 404
    assert ask(rules, "/metrics") == 0
    assert ask(rules, "/health/ready") == 0


@given(
    path=st.sampled_from(["/", "/jobs", "/commands/x", "/docs", "/metrics/", "//metrics", "/health", "/health/live/x"]),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "TRACE", "get"]),
    peer=st.one_of(st.none(), st.text(max_size=20), st.ip_addresses().map(str)),
    headers=st.dictionaries(
        st.sampled_from(["host", "origin", "authorization", "content-type", "x-forwarded-for", "content-length"]),
        st.text(max_size=30),
    ),
)
def test_a_stranger_without_the_token_never_gets_in(
    path: str, method: str, peer: str | None, headers: dict[str, str]
) -> None:
    headers = {name: said for name, said in headers.items() if "s3cret" not in said}
    assert refusal_of(BEYOND_WITH_TOKEN, path, method, peer, headers) is not None
    assert refusal_of(BEYOND, path, method, peer, headers) is not None


@given(st.text(max_size=60))
def test_no_host_header_breaks_it(host: str) -> None:
    ask(OPEN, host=host)
    ask(OPEN, "/commands/x", "POST", host=host, origin=host)
