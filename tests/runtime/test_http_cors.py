"""Which other sites' pages may read: a pure decision."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.http.admission import Asked
from runtime.http.cors import Cors

APP = "https://app.example"
RULES = Cors(origins=frozenset({APP}), paths=("/api/orders",))


def asked(path: str = "/api/orders", method: str = "GET", origin: Any = APP, wants: str | None = None) -> Asked:
    headers = {"origin": (origin,)} if isinstance(origin, str) else {"origin": tuple(origin or ())}
    if wants is not None:
        headers["access-control-request-method"] = (wants,)
    return Asked(method=method, path=path, peer="127.0.0.1", local=None, local_port=None, headers=headers)


def test_a_page_of_a_site_that_is_named_may_read() -> None:
    told = dict(RULES.told(asked()))
    assert told[b"access-control-allow-origin"] == APP.encode()
    assert b"etag" in told[b"access-control-expose-headers"]
    assert told[b"vary"] == b"Origin"
    answer = RULES.preflight(asked(method="OPTIONS", wants="GET"))
    assert answer is not None
    assert b"authorization" in dict(answer)[b"access-control-allow-headers"]
    assert b"access-control-allow-credentials" not in {**told, **dict(answer)}


@pytest.mark.parametrize(
    "given",
    [
        asked(method="OPTIONS", wants="POST"),
        asked(method="OPTIONS", wants="DELETE"),
        asked(method="OPTIONS"),
        asked(method="GET", wants="GET"),
        asked(method="OPTIONS", wants="GET", path="/jobs"),
        asked(method="OPTIONS", wants="GET", origin="https://evil.example"),
        asked(method="OPTIONS", wants="GET", origin="null"),
        asked(method="OPTIONS", wants="GET", origin=None),
        asked(method="OPTIONS", wants="GET", origin=(APP, "https://evil.example")),
    ],
)
def test_nothing_else_is_allowed_beforehand(given: Asked) -> None:
    assert RULES.preflight(given) is None


def test_what_others_get_differs_by_origin_and_says_so() -> None:
    """Or a cache could hand an answer for one site to another."""
    assert RULES.told(asked(origin="https://evil.example")) == ((b"vary", b"Origin"),)
    assert RULES.told(asked(origin=None)) == ((b"vary", b"Origin"),)


def test_commands_and_jobs_are_no_part_of_it() -> None:
    for path in ("/jobs", "/commands/run.echo", "/", "/metrics"):
        assert RULES.told(asked(path=path)) == ()


@given(st.text(max_size=30), st.sampled_from(["/api/orders", "/jobs", ""]), st.sampled_from(["GET", "OPTIONS"]))
def test_without_origins_there_is_none_of_it(origin: str, path: str, method: str) -> None:
    one = asked(path=path, method=method, origin=origin, wants="GET")
    assert Cors(paths=("/api/orders",)).told(one) == ()
    assert Cors(paths=("/api/orders",)).preflight(one) is None


@given(st.text(max_size=40))
def test_no_other_origin_is_let_in(origin: str) -> None:
    told = dict(RULES.told(asked(origin=origin)))
    assert (b"access-control-allow-origin" in told) == (origin == APP)
