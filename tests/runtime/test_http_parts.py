from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BadInput, Faults
from runtime.http import cursor, pages
from runtime.http.accepted import Accepted
from runtime.http.listen import bound, is_loopback, url_of


@given(st.datetimes(timezones=st.just(UTC)), st.text())
def test_a_cursor_is_read_as_it_was_written(at: datetime, job_id: str) -> None:
    word = cursor.written((at, job_id))
    assert cursor.read(word) == (at, job_id)
    assert word.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=80))
def test_a_made_up_cursor_is_a_fault(word: str) -> None:
    try:
        place = cursor.read(word)
    except BadInput:
        return
    assert cursor.read(cursor.written(place)) == place


def test_a_cursor_without_an_offset_is_a_fault() -> None:
    with pytest.raises(BadInput):
        cursor.read(cursor.written((datetime(2026, 1, 1), "a")))  # noqa: DTZ001 - the fault


def test_only_the_latest_accepted_are_kept() -> None:
    accepted = Accepted(kept=2)
    for job_id in ("a", "b", "a", "c"):
        accepted.add(job_id, f"run.{job_id}")
    assert [accepted.address_of(job_id) for job_id in "abc"] == ["run.a", None, "run.c"]
    accepted.forget("a")
    assert accepted.address_of("a") is None


def test_a_taken_port_is_said_with_what_to_do() -> None:
    with bound("127.0.0.1", 0, setting="HTTP_PORT") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Faults) as caught:
            bound("127.0.0.1", port, setting="HTTP_PORT")
    assert f"port {port}" in caught.value.faults[0]
    assert "HTTP_PORT" in caught.value.faults[0]


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_a_fault(host: str) -> None:
    with pytest.raises(Faults) as caught:
        bound(host, 0, setting="HTTP_PORT")
    assert host in caught.value.faults[0]


class Everywhere(socket.socket):
    """Says that it listens on all addresses; the tests open nothing to the outside."""

    def getsockname(self) -> tuple[str, int]:
        return "0.0.0.0", 8080  # noqa: S104


def test_the_second_part_of_an_answer_does_not_wait_for_the_first_one() -> None:
    with bound("127.0.0.1", 0, setting="HTTP_PORT") as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_is_named_by_where_it_listens() -> None:
    with bound("127.0.0.1", 0, setting="HTTP_PORT") as near, Everywhere() as everywhere:
        assert url_of(near) == f"http://127.0.0.1:{near.getsockname()[1]}"
        assert url_of(everywhere) == f"http://{socket.gethostname()}:8080"


@pytest.mark.parametrize(("address", "near"), [("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), (None, False)])  # noqa: S104
def test_loopback_is_told_by_the_address(address: str | None, near: bool) -> None:
    assert is_loopback(address) is near


def test_a_page_shows_text_as_text() -> None:
    hostile = "<script>alert(1)</script>"
    shown = pages.openapi(
        {
            "paths": {f"/{hostile}": {"get": {"summary": hostile, "description": hostile, "responses": {}}}},
            "components": {"schemas": {hostile: {"title": hostile}}},
        }
    ) + pages.asyncapi({"channels": {hostile: {"address": hostile, "messages": {hostile: {}}}}})
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_pages_need_nothing_from_elsewhere() -> None:
    for word in ("http://", "https://", "//", "src=", "@import", "url("):
        assert word not in pages.index()
