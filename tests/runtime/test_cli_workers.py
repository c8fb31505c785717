"""`millrace workers` and `millrace positions`, on the ledger of a real database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapters.ledger.postgres.ledger import PostgresLedger
from contracts.job import NewJob
from contracts.message import Envelope, Partition
from contracts.ports.ledger import Worker
from contracts.ports.parking import ToPark
from contracts.ports.partitions import Reported
from tests.kit.blocking_ledger import on_ledger
from tests.kit.command_line import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

LARGE = 1_700_000_000_000 << 64
"""A position as Redis has them."""


@contextmanager
def living(url: str, worker_id: str) -> Iterator[None]:
    """A worker with a lease for an hour, which leaves at the end."""
    worker = Worker(id=worker_id, host="here", pid=4711, modules=("orders", "steps"), http="http://127.0.0.1:1")
    on_ledger(url, lambda ledger, _: ledger.leases.join(worker, lease_s=3600))
    try:
        yield
    finally:
        on_ledger(url, lambda ledger, _: ledger.leases.leave(worker_id))


def take(url: str, group: str, index: int, *, by: str, position: int = 7, parked: int = 0) -> None:
    async def work(ledger: PostgresLedger, _: Any) -> None:
        taken = await ledger.partitions.take(group, Partition("orders.raw", index), worker_id=by, incarnation="i")
        await ledger.partitions.report(
            [Reported(hold=taken.hold, position=position, reach=position + 9, lag=3, open=2)]
        )
        waiting = [
            ToPark(envelope=Envelope(id=f"p{n}", address="orders.raw", body=b"{}"), position=position + n, lane=None)
            for n in range(parked)
        ]
        if waiting:
            await ledger.parking.park(taken.hold, waiting)

    on_ledger(url, work)


def claim(url: str, job_id: str, *, by: str) -> None:
    async def work(ledger: PostgresLedger, _: Any) -> None:
        await ledger.queue.record([NewJob(id=job_id, address="run.steps", body=b'{"steps": 1}')])
        [_claim] = await ledger.queue.claim(by, {"run.steps": 1}, only=[job_id])

    on_ledger(url, work)


def test_who_holds_what_and_what_nobody_holds(with_database: CommandLine, shared_database_url: str) -> None:
    url = shared_database_url
    with living(url, "alive"):
        take(url, "billing", 0, by="alive", parked=2)
        take(url, "billing", 1, by="died")
        claim(url, "at-work", by="alive")
        said = with_database("workers", "--output", "json").json()
        text = with_database("workers").out
    [worker] = said["workers"]
    assert (worker["id"], worker["host"], worker["pid"], worker["running"]) == ("alive", "here", 4711, 1)
    assert worker["modules"] == ["orders", "steps"]
    assert {"started_at", "lease_until", "http"} <= worker.keys()
    [held] = worker["partitions"]
    assert (held["group"], held["address"], held["index"], held["held"]) == ("billing", "orders.raw", 0, True)
    assert (held["lag"], held["open"], held["parked"], held["position"]) == (3, 2, 2, "7")
    assert held["since"]
    [job] = worker["jobs"]
    assert (job["id"], job["address"], job["attempt"]) == ("at-work", "run.steps", 1)
    [unheld] = [one for one in said["unheld"] if one["group"] == "billing"]
    assert (unheld["index"], unheld["held"], unheld["worker_id"]) == (1, False, "died")
    lines = text.splitlines()
    assert lines[0].split() == ["id", "host", "pid", "version", "modules", "partitions", "jobs", "lag", "since"]
    assert lines[1].split()[:3] == ["alive", "here", "4711"]
    assert [line for line in lines if line in ("partitions", "jobs", "partitions that nobody holds")] == [
        "partitions", "jobs", "partitions that nobody holds"
    ]  # fmt: skip


def test_a_job_whose_worker_is_gone_is_told(with_database: CommandLine, shared_database_url: str) -> None:
    with living(shared_database_url, "short"):
        claim(shared_database_url, "orphan", by="short")
        sql = "update millrace.workers set lease_until = now() - interval '1 second' where id = 'short'"
        on_ledger(shared_database_url, lambda _, db: db.execute(sql))
        said = with_database("workers", "--output", "json").json()
        text = with_database("workers").out
    assert said["workers"] == []
    assert [(one["id"], one["worker_id"]) for one in said["orphans"]] == [("orphan", "short")]
    assert "no worker is running" in text
    assert "jobs whose worker is gone" in text


def test_positions_are_listed_whole(with_database: CommandLine, shared_database_url: str) -> None:
    take(shared_database_url, "large", 0, by="died", position=LARGE)
    take(shared_database_url, "large", 1, by="died")
    [first, second] = with_database("positions", "list", "--group", "large", "--output", "json").json()
    assert (first["position"], second["position"]) == (str(LARGE), "7")
    assert str(LARGE) in with_database("positions", "list", "--group", "large", "--address", "orders.raw").out
    assert with_database("positions", "list", "--group", "none").out == "no such positions\n"


@pytest.mark.parametrize(("to", "position"), [("earliest", "0"), ("bus", None), (str(LARGE), str(LARGE))])
def test_positions_are_reset(
    with_database: CommandLine, shared_database_url: str, to: str, position: str | None
) -> None:
    take(shared_database_url, "orders", 0, by="died")
    ran = with_database("positions", "reset", "orders", "orders.raw", "--to", to, "--yes", "--output", "json")
    assert ran.code == 0, ran.err
    assert ran.json() == {"group": "orders", "address": "orders.raw", "to": position, "partitions": 1}
    assert ran.err == "", "the route is transactional: the ledger's position counts"
    [row] = with_database("positions", "list", "--group", "orders", "--output", "json").json()
    assert (row["position"], row["worker_id"]) == (position, None)


def test_a_route_that_begins_where_the_bus_says_is_told(with_database: CommandLine, shared_database_url: str) -> None:
    place = with_database.directory / "on_the_path" / "modules" / "orders" / "__init__.py"
    place.write_text(place.read_text().replace("async def take(order: Order, db: Db)", "async def take(order: Order)"))
    take(shared_database_url, "orders", 0, by="died")
    ran = with_database("positions", "reset", "orders", "orders.raw", "--to", "earliest", "--yes")
    assert ran.code == 0
    assert "orders.raw is not transactional in orders: the bus alone says where it begins" in ran.err


def test_a_living_holder_keeps_its_positions(with_database: CommandLine, shared_database_url: str) -> None:
    with living(shared_database_url, "busy"):
        take(shared_database_url, "kept", 0, by="busy")
        ran = with_database("positions", "reset", "kept", "orders.raw", "--to", "earliest", "--yes")
        assert (ran.code, ran.out) == (1, "")
        assert "busy" in ran.err
        [row] = with_database("positions", "list", "--group", "kept", "--output", "json").json()
        assert row["position"] == "7"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("billing", "orders.raw", "--to", "earliest"), 2, "--yes: billing would begin at position 0 with orders.raw"),
        (("billing", "orders.raw", "--to", "latest", "--yes"), 2, "--to: 'latest'; it can be bus"),
        (("billing", "orders.raw", "--to", "-1", "--yes"), 2, "--to: '-1'"),
        (("billing", "orders.raw", "--to", "9" * 40, "--yes"), 2, "--to: '9999"),
        (("billing", "--to", "bus"), 2, "ADDRESS: missing"),
        (("billing", "orders.raw", "more", "--to", "bus"), 2, "'more': an argument too much"),
        (("nobody", "orders.raw", "--to", "bus", "--yes"), 1, "the ledger has no positions of nobody orders.raw"),
    ],
)
def test_what_is_wrong_with_a_reset_is_told(
    with_database: CommandLine, argv: tuple[str, ...], code: int, said: str
) -> None:
    ran = with_database("positions", "reset", *argv)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
