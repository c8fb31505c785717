"""The parts of the Cassandra adapter that need no server."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import cassandra
import pytest
from cassandra import cluster, connection, protocol

from adapters.database.cassandra.bulk import side_by_side
from adapters.database.cassandra.place import Place
from adapters.database.cassandra.prepared import Prepared
from adapters.database.cassandra.telling import tell_tersely
from adapters.database.cassandra.translation import translated
from contracts.errors import MillraceError, Permanent, Transient, Unavailable
from contracts.ports.secrets import Secret, fixed

pytestmark = pytest.mark.anyio


# Statements that are kept prepared.


class Server:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.fails = False

    async def prepare(self, cql: str) -> str:
        self.asked.append(cql)
        await self.may_answer.wait()
        if self.fails:
            raise Permanent("no")
        return f"prepared {cql}"


async def test_a_statement_is_prepared_once_whoever_asks() -> None:
    server = Server()
    prepared = Prepared(server.prepare, most=2)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(prepared.get("a")) for _ in range(5)]
        group.create_task(prepared.get("b"))
        server.may_answer.set()
    assert {one.result() for one in asked} == {"prepared a"}
    assert sorted(server.asked) == ["a", "b"]
    await prepared.get("a")
    await prepared.get("c")  # b was not used for the longest time
    await prepared.get("a")
    await prepared.get("b")
    assert (server.asked[2:], len(prepared)) == (["c", "b"], 2)


async def refused(prepared: Prepared) -> str:
    with pytest.raises(Permanent) as raised:
        await prepared.get("a")
    return str(raised.value)


async def test_what_came_of_it_is_the_others_as_well_and_the_next_who_asks_tries_again() -> None:
    server = Server()
    server.fails = True
    prepared = Prepared(server.prepare, most=2)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(refused(prepared)) for _ in range(3)]
        await asyncio.wait(asked, timeout=0)
        server.may_answer.set()
    assert [one.result() for one in asked] == ["no"] * 3
    assert server.asked == ["a"]
    server.fails = False
    assert await prepared.get("a") == "prepared a"


async def test_when_the_one_who_prepares_is_cancelled_another_does_it() -> None:
    server = Server()
    prepared = Prepared(server.prepare, most=2)
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(prepared.get("a")) for _ in range(2))
        await asyncio.wait([first], timeout=0)
        first.cancel()
        await asyncio.wait([first])
        server.may_answer.set()
    assert second.result() == "prepared a"
    assert server.asked == ["a", "a"]


# Many rows.


async def test_so_many_are_written_at_a_time_and_rows_are_taken_as_they_are_written() -> None:
    taken, under_way, most = [], 0, 0

    def rows() -> Iterator[tuple[int]]:
        for number in range(100):
            taken.append(number)
            yield (number,)

    async def write(number: int, row: Sequence[Any]) -> None:
        nonlocal under_way, most
        assert row == (number - 1,)
        under_way += 1
        most = max(most, under_way)
        assert len(taken) <= number + 7
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0)
        under_way -= 1

    assert await side_by_side(rows(), write, most=7) == 100
    assert most == 7


async def test_after_an_error_what_is_under_way_ends_and_no_more_are_taken() -> None:
    written: list[int] = []

    async def write(number: int, row: Sequence[Any]) -> None:
        if number == 10:
            raise Permanent("row 10")
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0)
        written.append(number)

    rows = iter([(number,) for number in range(1000)])
    with pytest.raises(Permanent, match="row 10"):
        await side_by_side(rows, write, most=4)
    assert set(range(1, 10)) <= set(written) <= set(range(1, 17))
    assert len(list(rows)) > 900


# Errors.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (cluster.NoHostAvailable("none", {"h": connection.ConnectionException("refused")}), Unavailable),
        (cassandra.Unavailable("too few replicas"), Unavailable),
        (cassandra.AuthenticationFailed("no"), Unavailable),
        (protocol.OverloadedErrorMessage(0x1001, "busy", None), Unavailable),
        (connection.ConnectionShutdown("gone"), Unavailable),
        (ConnectionResetError("gone"), Unavailable),
        (cassandra.OperationTimedOut(), Transient),
        (TimeoutError(), Transient),
        (cassandra.WriteTimeout("slow", write_type=0), Transient),
        (cassandra.ReadFailure("failed"), Transient),
        (protocol.ServerError(0x0000, "oops", None), Transient),
        (protocol.SyntaxException(0x2000, "no viable alternative", None), Permanent),
        (cassandra.InvalidRequest("unconfigured table"), Permanent),
        (cassandra.Unauthorized("no MODIFY"), Permanent),
        (cassandra.AlreadyExists("k", "t"), Permanent),
    ],
)
def test_an_error_says_whether_to_try_again(error: Exception, kind: type[MillraceError]) -> None:
    made = translated(error, where="cassandra://h:9042/k")
    assert type(made) is kind
    assert str(made)


def test_an_error_of_the_system_is_told_in_its_words() -> None:
    refused = cluster.NoHostAvailable("none", {"h:9042": ConnectionRefusedError(111, "Connection refused")})
    assert str(translated(refused, where="here")) == "here is not available: h:9042: Connection refused"
    unsafe = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    assert "CERTIFICATE_VERIFY_FAILED" in str(translated(unsafe, where="here"))


def test_a_place_shows_no_secret() -> None:
    place = Place(hosts=("a:9042", "[::1]:9043"), keyspace="k", user="somebody", password=fixed(Secret("hunter2")))
    assert repr(place) == "Place(cassandra://a:9042,[::1]:9043/k)"
    assert place.endpoints == [("a", 9042), ("::1", 9043)]


def test_the_driver_tells_no_tracebacks_and_not_what_is_raised_to_us(caplog: pytest.LogCaptureFixture) -> None:
    tell_tersely()
    tell_tersely()
    log = logging.getLogger("cassandra.cluster")
    assert len([one for one in log.filters if type(one).__name__ == "Terse"]) == 1
    try:
        raise ValueError("of the driver")
    except ValueError:
        log.exception("Error preparing query:")
        log.warning("Host %s has been marked down", "h", exc_info=True)
    assert caplog.messages == ["Host h has been marked down"]
    assert "Traceback" not in caplog.text
