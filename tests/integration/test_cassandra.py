"""Cassandra under modules, on a real server. All of it stands in one file, so that a run starts one server for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.database.cassandra.db import CassandraDb
from adapters.database.cassandra.place import Limits, Place
from adapters.database.postgres import PostgresDb
from adapters.metrics.memory import MemoryMetrics
from adapters.tls import Tls
from contracts import metrics as metric
from contracts.errors import Permanent, Transient, Unavailable
from contracts.message import Contract
from contracts.module import Module, Retry
from contracts.ports import Emit, Statements
from contracts.ports.secrets import Secret, fixed
from runtime.readiness import Readiness
from tests.conformance.statements_suite import cql, exercise_statements
from tests.e2e.product import environment, millrace, worker
from tests.kit import own_modules, readings, services
from tests.kit.certificates import Authority
from tests.kit.databases import opened
from tests.kit.harness import harness
from tests.kit.keyspaces import LIMITS, Keyspaces, place_of
from tests.kit.proxied import proxied
from tests.kit.proxy import Proxy
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(180)]

TABLE = "create table readings (sensor text, number int, value double, primary key (sensor, number))"
UPSERT = "insert into readings (sensor, number, value) values ($1, $2, $3)"
ALL = "select sensor, number, value from readings"


class Reading(Contract, frozen=True):
    sensor: str = "a"
    number: int = 0


@asynccontextmanager
async def behind_a_proxy(
    cassandra: services.Running, keyspace: Place, **limits: Any
) -> AsyncIterator[tuple[Proxy, CassandraDb]]:
    async with proxied(cassandra) as proxy:
        place = msgspec.structs.replace(keyspace, hosts=(f"127.0.0.1:{proxy.port}",))
        async with opened(CassandraDb(place, limits=msgspec.structs.replace(LIMITS, **limits))) as db:
            yield proxy, db


async def turns_of_the_loop() -> None:
    """Many: what blocks the loop keeps this from ending."""
    for _ in range(50):
        await SystemClock().sleep(0.001)


async def test_it_keeps_the_promises_of_statements(keyspace: Place) -> None:
    metrics = MemoryMetrics()
    async with opened(CassandraDb(keyspace, limits=LIMITS, metrics=metrics)) as db:
        await exercise_statements(db, cql(keyspace.keyspace))
        assert await db.fetch("select key from system.local") == [{"key": "local"}]
    for operation in ("fetch", "execute", "copy"):
        assert metrics.observations(metric.DB_QUERY_DURATION, operation=operation)
    with pytest.raises(Unavailable, match="it was not opened, or it is closed"):
        await db.fetch(ALL)


# Under a worker.


async def test_a_message_becomes_a_row_and_is_settled_in_the_ledger(keyspace: Place, db: PostgresDb) -> None:
    """The first attempt fails after its effect: it happens again, and is the same; what was emitted goes out once."""
    module = Module("keeping", kind="service", summary="Keeps readings.")
    failed: list[int] = []

    @module.on_startup
    async def prepare(kept: Statements) -> None:
        await kept.execute(TABLE)

    @module.stream("readings.raw", Reading, key="sensor", retry=Retry(attempts=3, first_s=0.01), partitions=2)
    async def keep(reading: Reading, kept: Statements, emit: Emit) -> None:
        await kept.execute(UPSERT, reading.sensor, reading.number, reading.number / 2)
        await emit("readings.kept", reading)
        if reading.number % 5 == 0 and reading.number not in failed:
            failed.append(reading.number)
            raise Transient("after its effect")

    sent = [Reading(sensor=f"s{number % 3}", number=number) for number in range(20)]
    cassandra = CassandraDb(keyspace, limits=LIMITS)
    async with harness(module, db=db, statements=cassandra) as running:
        await running.publish("readings.raw", *sent)
        await running.settled()
        rows = await cassandra.fetch(ALL)
        assert sorted((row["sensor"], row["number"], row["value"]) for row in rows) == sorted(
            (one.sensor, one.number, one.number / 2) for one in sent
        )
        assert sorted(one.number for one in running.emitted("readings.kept", Reading)) == list(range(20))
        assert await running.dead_letters() == []
        assert len(failed) == 4
        assert "statements" in running.worker.adapters.opened
        held = await running.ledger.partitions.holdings()
        assert sum(one.position or 0 for one in held if one.partition.address == "readings.raw") == 20
    with pytest.raises(Unavailable, match="it is closed"):
        await cassandra.check()


async def test_while_it_is_down_the_routes_that_need_it_wait_and_the_others_go_on(
    cassandra: services.CassandraRunning, keyspace: Place, db: PostgresDb
) -> None:
    module = Module("keeping", kind="service", summary="Keeps readings.")
    clicked: list[int] = []

    @module.stream("readings.raw", Reading, key="sensor", retry=Retry(attempts=1), partitions=2)
    async def keep(reading: Reading, kept: Statements) -> None:
        await kept.execute(UPSERT, reading.sensor, reading.number, 0.5)

    @module.stream("clicks.raw", Reading, retry=Retry(attempts=1), partitions=2)
    async def click(reading: Reading) -> None:
        clicked.append(reading.number)

    async with behind_a_proxy(cassandra, keyspace) as (proxy, kept):
        await kept.execute(TABLE)
        async with harness(module, db=db, statements=kept) as running:
            await running.publish("readings.raw", *[Reading(number=number) for number in range(10)])
            await running.settled()
            await proxy.refuse()
            proxy.cut()
            await running.publish("readings.raw", *[Reading(number=number) for number in range(10, 30)])
            await running.until(lambda: running.metrics.value(metric.BREAKER_OPEN, dependency="statements") == 1)
            [consumer] = [one for one in running.worker.streams.consumers if one.route.address == "readings.raw"]
            await running.until(lambda: "breaker: statements" in consumer.paused)
            await running.publish("clicks.raw", *[Reading(number=number) for number in range(5)])
            await running.until(lambda: len(clicked) == 5, what="the route that does not need it")
            report = await Readiness(running.worker).report()
            assert (report.status, [one.address for one in report.routes]) == ("degraded", ["readings.raw"])

            await proxy.accept()
            await running.until(lambda: not consumer.paused, what="the end of the pause")
            await running.settled()
            assert await running.dead_letters() == [], "no attempt was used up, though there is only one"
            assert sorted(row["number"] for row in await kept.fetch(ALL)) == list(range(30))


async def test_a_worker_uses_it_by_settings_alone_and_with_the_least_rights(
    cassandra: services.CassandraRunning, keyspace: Place, keyspaces: Keyspaces, database_url: str, tmp_path: Path
) -> None:
    own_modules.write(tmp_path)
    readings.write(tmp_path)
    authority = cassandra.authority
    tls = {"DB_CASSANDRA_TLS": "true", "DB_CASSANDRA_TLS_CA_FILE": str(authority.ca_file)} if authority else {}
    async with keyspaces.role("its-password", on=keyspace, rights="SELECT, MODIFY, CREATE") as role:
        environ = environment(
            tmp_path,
            database_url,
            MODULES="readings",
            MILLRACE_DB="cassandra",
            DB_CASSANDRA_HOSTS=role.hosts[0],
            DB_CASSANDRA_KEYSPACE=role.keyspace,
            DB_CASSANDRA_USER=str(role.user),
            DB_CASSANDRA_PASSWORD="secret:for-cassandra",
            FOR_CASSANDRA="its-password",
            DB_CASSANDRA_TIMEOUT_S="30",
            **tls,
        )
        async with worker(tmp_path, environ) as running:
            assert f"statements=CassandraDb {role.shown}" in running.summary["adapters"]
            await running.post("run.readings", {"sensor": "x", "count": 300}, message_id="one")
            row = await running.job_is("one", "done")
            assert row["result"] == 300
            running.signal()
            assert await running.ended() == 0
        assert "Traceback" not in running.err
        doctor = await asyncio.to_thread(millrace, environ, "doctor", "--output", "json")
    found = {one["part"]: one for one in msgspec.json.decode(doctor.stdout)}
    assert (found["statements"]["state"], found["statements"]["detail"]) == ("ok", role.shown)
    assert "its password from the secret for-cassandra" in found["statements security"]["detail"]
    assert "its-password" not in running.err + running.out + doctor.stdout + doctor.stderr
    async with opened(CassandraDb(keyspace, limits=LIMITS)) as kept:
        assert await kept.fetch_value("select value from readings where sensor = $1 and number = $2", "x", 7) == 3.5


# What it does to the loop, and what bounds it.


async def test_the_loop_goes_on_while_a_statement_waits(cassandra: services.CassandraRunning, keyspace: Place) -> None:
    async with behind_a_proxy(cassandra, keyspace) as (proxy, db), asyncio.TaskGroup() as group:
        await db.execute(TABLE)
        await db.execute(UPSERT, "a", 1, 0.5)
        proxy.stall("answers")
        asked = [
            group.create_task(db.fetch(ALL)),
            group.create_task(db.execute(UPSERT, "a", 2, 0.5)),
            group.create_task(db.bulk_insert("readings", [("a", 3, 0.5)], columns=["sensor", "number", "value"])),
        ]
        await until(lambda: proxy.waiting_bytes > 0, what="an answer that is held back")
        await turns_of_the_loop()
        assert not any(one.done() for one in asked)
        proxy.resume()
        assert await asked[0] in ([{"sensor": "a", "number": 1, "value": 0.5}], await db.fetch(ALL))


async def test_a_server_that_answers_nothing_is_told_from_a_statement_that_is_too_slow(
    cassandra: services.CassandraRunning, keyspace: Place
) -> None:
    asks = "select key from system.local where key = $1"
    async with behind_a_proxy(cassandra, keyspace, request_timeout_s=0.3, check_timeout_s=0.3) as (proxy, db):
        proxy.stall("answers")
        for asked in (db.fetch("select key from system.local"), db.fetch(asks, "local"), db.execute(asks, "local")):
            with pytest.raises(Unavailable, match="it does not answer"):
                await asked
        with pytest.raises(Unavailable, match="it does not answer"):
            await db.check()
    async with behind_a_proxy(cassandra, keyspace, request_timeout_s=0.3, check_timeout_s=30) as (proxy, db):
        proxy.delay(0.4)
        with pytest.raises(Transient, match="not answered in time; whether it was done is unknown") as raised:
            await db.fetch("select key from system.local")
        assert not isinstance(raised.value, Unavailable)


async def answers(db: CassandraDb) -> bool:
    try:
        await db.check()
    except Transient:
        return False
    return True


async def test_what_is_in_flight_is_bounded_also_when_nobody_waits_for_it_any_more(
    cassandra: services.CassandraRunning, keyspace: Place
) -> None:
    asks = "select key from system.local where key = $1"
    async with behind_a_proxy(cassandra, keyspace, in_flight=2, turn_timeout_s=0.2) as (proxy, db):
        assert await db.fetch_value(asks, "local") == "local"
        proxy.stall("answers")
        given_up = asyncio.gather(db.fetch(asks, "local"), db.fetch(asks, "local"))
        await until(lambda: proxy.waiting_bytes > 0, what="an answer that is held back")
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        with pytest.raises(Unavailable, match="as 2 requests are in flight; raise DB_CASSANDRA_"):
            await db.fetch(asks, "local")
        proxy.resume()
        await until(lambda: answers(db), what="the end of what is in flight")
        assert await asyncio.gather(*[db.fetch_value(asks, "local") for _ in range(2)]) == ["local"] * 2


async def test_a_lost_connection_is_unavailable_and_is_made_anew(
    cassandra: services.CassandraRunning, keyspace: Place
) -> None:
    async with behind_a_proxy(cassandra, keyspace) as (proxy, db):
        await db.execute(TABLE)
        proxy.stall("answers")
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(raised_by(db.execute(UPSERT, "a", 1, 0.5)))
            await until(lambda: proxy.waiting_bytes > 0, what="an answer that is held back")
            await proxy.refuse()
            proxy.cut()
        assert isinstance(asked.result(), Unavailable)
        proxy.resume()
        await until(lambda: fails(db), what="a check that fails")
        with pytest.raises(Unavailable, match=str(proxy.port)):
            await db.execute(UPSERT, "a", 1, 0.5)
        await proxy.accept()
        await until(lambda: answers(db), timeout_s=30, what="a new connection")
        await db.execute(UPSERT, "a", 1, 0.5)


async def fails(db: CassandraDb) -> bool:
    return not await answers(db)


async def raised_by(call: Any) -> Exception | None:
    try:
        await call
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error
    return None


async def test_the_statements_that_are_kept_prepared_are_bounded(keyspace: Place) -> None:
    async with opened(CassandraDb(keyspace, limits=msgspec.structs.replace(LIMITS, prepared=3))) as db:
        for _ in range(2):
            for number in range(5):
                sql = f"select key from system.local where key = $1 limit {number + 1}"  # noqa: S608
                assert await db.fetch_value(sql, "local") == "local"
        assert len(db._link.prepared) == 3


# Who is let in.


async def test_what_keeps_us_out_is_said_at_once_and_without_the_password(
    keyspace: Place, keyspaces: Keyspaces, capfd: pytest.CaptureFixture[str]
) -> None:
    said = []
    for wrong, expected in (
        ({"password": fixed(Secret("hunter2-hunter2"))}, "password are incorrect"),
        ({"user": None, "password": None}, "Remote end requires authentication"),
        ({"keyspace": "nowhere"}, "'nowhere' does not exist"),
        ({"hosts": ("no-such-host.invalid:9042",)}, "no-such-host.invalid"),
    ):
        db = CassandraDb(msgspec.structs.replace(keyspace, **wrong), limits=LIMITS)
        with pytest.raises(Unavailable, match=expected) as raised:
            await db.open()
        said.append(f"{raised.value!r} {db._place!r} {vars(db)}")
        await db.close()
    said += capfd.readouterr()
    assert "hunter2" not in "".join(said)


async def test_a_server_that_is_not_there_is_waited_for_a_while(keyspace: Place) -> None:
    for wrong, expected in (
        ({"hosts": ("127.0.0.1:1",)}, "127.0.0.1:1"),
        ({"datacenter": "mars"}, "no node in the data centre 'mars'"),
    ):
        place = msgspec.structs.replace(keyspace, **wrong)
        with pytest.raises(Unavailable, match=expected):
            await CassandraDb(place, limits=Limits(open_timeout_s=1)).open()


async def test_a_password_is_looked_up_for_each_connection_and_rights_are_those_of_its_user(
    cassandra: services.CassandraRunning, keyspace: Place, keyspaces: Keyspaces
) -> None:
    async with opened(CassandraDb(keyspace, limits=LIMITS)) as db:
        await db.execute(TABLE)
    given, asked = ["first-password"], []

    async def look_up() -> Secret:
        asked.append(given[0])
        return Secret(given[0])

    async with keyspaces.role("first-password", on=keyspace, rights="SELECT") as role:
        known = msgspec.structs.replace(role, password=look_up)
        async with behind_a_proxy(cassandra, known) as (proxy, db):
            assert await db.fetch(ALL) == []
            if cassandra.authority is not None:  # where we know that it looks at rights
                with pytest.raises(Permanent, match="MODIFY"):
                    await db.execute(UPSERT, "a", 1, 0.5)
            # Exchanged there first: for that, the driver gives the only node up for good.
            await keyspaces.change_password(role, "second-password")
            proxy.cut()
            await until(lambda: fails(db), what="a check that fails")
            given[0] = "second-password"
            await until(lambda: answers(db), timeout_s=60, what="a new connection")
            assert await db.fetch(ALL) == []
            assert asked[-1] == "second-password"


async def test_tls_is_spoken_with_whom_we_trust(
    cassandra: services.CassandraRunning, keyspace: Place, tmp_path: Path
) -> None:
    trusted = msgspec.structs.replace(keyspace, tls=Tls(ca_file=cassandra.trusted.ca_file))
    async with opened(CassandraDb(trusted, limits=LIMITS)) as db:
        found = await db.fetch("select username from system_views.clients where ssl_enabled = true allow filtering")
        assert found
        assert {row["username"] for row in found} == {keyspace.user}
    stranger = msgspec.structs.replace(keyspace, tls=Tls(ca_file=Authority(tmp_path).ca_file))
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await CassandraDb(stranger, limits=Limits(open_timeout_s=1)).open()
    assert place_of(cassandra.url, keyspace="x").tls is None
