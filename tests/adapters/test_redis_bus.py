"""What the Redis bus does beyond the promises of every bus."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from adapters.bus import redis_stream
from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.bus import RedisStreamBus
from contracts.errors import Faults, LeaseLost, Unavailable
from contracts.message import Partition
from contracts.ports.bus import Assignment
from tests.conformance.bus_scene import Recorder, Scene
from tests.conformance.test_bus_redis import RedisBacking, backing_on
from tests.kit import services
from tests.kit.certificates import Authority
from tests.kit.proxied import proxied
from tests.kit.redis_users import redis_user
from tests.kit.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backing(redis_server: services.Running) -> AsyncIterator[RedisBacking]:
    async with backing_on(redis_server.url) as made:
        yield made


async def groups(client: Redis, stream: str) -> dict[str, dict[str, Any]]:
    found: Any = await client.xinfo_groups(stream)
    return {group["name"].decode(): group for group in found}


async def consumers(client: Redis, stream: str, group: str) -> dict[str, int]:
    found: Any = await client.xinfo_consumers(stream, group)
    return {consumer["name"].decode(): consumer["pending"] for consumer in found}


def streams(scene: Scene) -> list[str]:
    partitions = scene.backing.partitions
    return [keys.stream_of(scene.address, index, partitions) for index in range(partitions + 1)]


def stream_of(scene: Scene, key: str) -> str:
    return f"{scene.address}:{keys.partition_of(key, scene.backing.partitions)}"


# --- what is agreed on --------------------------------------------------------------------------------------------


async def test_the_number_of_partitions_is_remembered_and_another_one_refused(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        publisher = await scene.opened()
        await publisher.publish(scene.envelope(b"{}"))  # who doesn't know takes 8
        bus = await scene.opened(scene.recorder())
        with pytest.raises(Faults, match=r"declared with 4 partitions, but it has 8 in Redis: declare 8"):
            await bus.start()


async def test_who_publishes_may_declare_for_the_reader(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        publisher = scene.unopened()
        assert isinstance(publisher, RedisStreamBus)
        publisher.declare(scene.address, backing.partitions)
        await publisher.open()
        await scene.publish(publisher, 20)
        recorder = scene.recorder()
        await scene.start(recorder)
        await scene.until(lambda: len(recorder.deliveries) == 20)


async def test_a_job_route_takes_the_partitions_that_there_are(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        await scene.publish(await scene.opened(), 20)
        recorder = scene.job_recorder()
        await scene.start(recorder)
        await scene.until(lambda: len(recorder.deliveries) == 20)
        assert len(recorder.held) == 9


async def test_a_worker_with_another_ledger_is_refused(backing: RedisBacking) -> None:
    async def one() -> str:
        return "ledger-1"

    async def another() -> str:
        return "ledger-2"

    async with Scene(backing) as scene:
        for ledger in (one, one):
            bus = backing.bus(ledger_id=ledger)
            bus.mount(scene.recorder(), schema={})
            await bus.open()
            await bus.start()
            await bus.close()
        bus = backing.bus(ledger_id=another)
        bus.mount(scene.recorder(), schema={})
        await bus.open()
        with pytest.raises(Faults, match=r"ledger ledger-1, and this worker has the ledger ledger-2"):
            await bus.start()
        await bus.close()


# --- ownership ----------------------------------------------------------------------------------------------------


async def test_the_server_reads_nothing_for_whoever_lost_the_partition(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 1, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 1)
        before = recorder.assignment_of(recorder.deliveries[0])
        stream = stream_of(scene, "k")
        # Somebody else took it, and we did not hear of that: we wait for news of the stream.
        await backing.client.set(keys.token(stream, scene.group), "somebody:1")
        await scene.publish(bus, 1, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 3)  # it is ours again, by a new lease
        assert recorder.revocations == [before.partition]
        assert [delivery.deliveries for delivery in recorder.deliveries] == [1, 2, 1], "the loser had read the second"
        assert recorder.assignment_of(recorder.deliveries[2]).epoch > before.epoch


async def test_a_commit_of_a_loser_changes_nothing(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 3, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 3)
        assignment = recorder.assignment_of(recorder.deliveries[0])
        stream = stream_of(scene, "k")
        await backing.client.set(keys.token(stream, scene.group), "somebody:1")
        with pytest.raises(LeaseLost):
            await assignment.commit(recorder.deliveries[-1].position + 1)
        assert (await groups(backing.client, stream))[scene.group]["pending"] == 3


async def test_deliveries_are_counted_across_owners(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        for time in (1, 2, 3):
            recorder = scene.recorder()
            bus = await scene.start(recorder)
            if time == 1:
                await scene.publish(bus, 3, keys=["k"])
            await scene.until(lambda recorder=recorder: len(recorder.deliveries) == 3)  # type: ignore[misc]
            assert [delivery.deliveries for delivery in recorder.deliveries] == [time] * 3
            await (scene.crash(bus) if time == 2 else bus.close())


async def test_what_nobody_saw_does_not_count(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()

        def pause_all(*_: object) -> None:
            first.pause("enough")

        first.on_fetched = pause_all
        bus = await scene.opened(first)
        await scene.publish(bus, 40)  # one partition is handed over, the others have been read too
        await bus.start()
        await scene.until(lambda: len(first.fetches) == 1)
        await backing.quiet()
        seen = {delivery.envelope.id for delivery in first.deliveries}
        await bus.close()
        await scene.start(second)
        await scene.until(lambda: len(second.deliveries) == 40)
        assert all(d.deliveries == 1 + (d.envelope.id in seen) for d in second.deliveries)


async def test_who_left_is_removed_from_the_group(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        stream = stream_of(scene, "k")
        first, second, third = scene.recorder(commits=True), scene.recorder(), scene.recorder(commits=True)
        bus = await scene.start(first)
        await scene.publish(bus, 5, keys=["k"])
        await scene.until(lambda: len(first.deliveries) == 5)
        await bus.close()
        assert await consumers(backing.client, stream, scene.group) == {}
        other = await scene.start(second)
        await scene.publish(other, 5, keys=["k"])
        await scene.until(lambda: len(second.deliveries) == 5)
        await scene.crash(other)
        [(dead, pending)] = (await consumers(backing.client, stream, scene.group)).items()
        assert pending == 5
        await scene.start(third)
        await scene.until(lambda: len(third.deliveries) == 5)

        async def gone() -> bool:
            return dead not in await consumers(backing.client, stream, scene.group)

        await until(gone, what="the end of the dead consumer")


# --- what is kept -------------------------------------------------------------------------------------------------


async def test_what_any_group_has_to_do_is_never_dropped(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        quick, slow = scene.recorder(), scene.recorder(group=f"slow-{scene.group}")
        bus, other = backing.bus(keep_finished=0), await scene.start(slow)
        bus.mount(quick, schema={})
        stream = stream_of(scene, "k")
        try:
            await bus.open()
            await bus.start()
            await scene.all_held(slow)
            await scene.publish(bus, 1000, keys=["k"])
            await scene.until(lambda: len(quick.deliveries) == len(slow.deliveries) == 1000)
            await slow.assignment_of(slow.deliveries[0]).commit(slow.deliveries[500].position)
            await other.close()
            await backing.let_pass(1.1)  # trimming is paced
            await quick.commit_all()
            kept = await backing.client.xlen(stream)
            assert 500 <= kept < 1000
            heir = scene.recorder(group=f"slow-{scene.group}")
            await scene.start(heir)
            await scene.until(lambda: len(heir.deliveries) == 500)
            assert heir.numbers == list(range(500, 1000))
            await heir.commit_all()
            await backing.let_pass(1.1)
            await quick.commit_all()
            assert await backing.client.xlen(stream) <= 200
        finally:
            await bus.close()


async def test_finished_entries_are_kept_up_to_a_number_and_an_age(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = backing.bus(keep_finished=400)
        bus.mount(recorder, schema={})
        stream = stream_of(scene, "k")
        try:
            await bus.open()
            for number in range(1, 301):  # of 1970
                await backing.client.xadd(stream, {"data": "{}"}, id=f"{number}-0")
            await scene.publish(bus, 1000, keys=["k"])
            await bus.start()
            await scene.until(lambda: len(recorder.deliveries) == 1300)
            assignment = recorder.assignment_of(recorder.deliveries[0])
            await backing.let_pass(1.1)
            await assignment.commit(recorder.deliveries[350].position)
            left: Any = await backing.client.xrange(stream, count=1)
            assert 300 < await backing.client.xlen(stream) < 1300, "what is too old goes, however few there are"
            assert keys.position_of(left[0][0]) <= recorder.deliveries[350].position
            await backing.let_pass(1.1)
            await assignment.commit(recorder.deliveries[-1].position + 1)
            assert 400 <= await backing.client.xlen(stream) <= 600
        finally:
            await bus.close()


async def test_who_deletes_an_entry_that_is_out_loses_no_other(
    backing: RedisBacking, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(backing) as scene:
        first, second = scene.recorder(), scene.recorder()
        bus = await scene.start(first)
        await scene.publish(bus, 5, keys=["k"])
        await scene.until(lambda: len(first.deliveries) == 5)
        await first.assignment_of(first.deliveries[0]).release([first.deliveries[3].position])
        await scene.until(lambda: len(first.deliveries) == 6)
        await bus.close()
        await backing.client.xdel(stream_of(scene, "k"), keys.id_of(first.deliveries[2].position))
        other = await scene.start(second)
        await scene.nothing_more(other, second, keys=["k"])
        assert second.numbers == [0, 1, 3, 4]
        assert "deleted by somebody" in caplog.text


async def test_the_lag_is_told_where_redis_does_not_count(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(bus, 10, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 10)
        assignment = recorder.assignment_of(recorder.deliveries[0])
        assignment.pause("breaker")
        await scene.publish(bus, 10, keys=["k"])
        stream = stream_of(scene, "k")
        unread: Any = await backing.client.xrange(stream, min=f"({keys.id_of(recorder.deliveries[-1].position)}")
        await backing.client.xdel(stream, unread[4][0])  # a hole: Redis 7 gives its count up
        await assignment.commit(recorder.deliveries[5].position)
        assert assignment.lag == 5 + 9


@pytest.mark.parametrize(
    ("expired", "stored", "kept_from", "arrived"),
    [
        ("earliest", 3, 6, [6, 7, 8, 9]),
        ("latest", 3, 6, []),
        ("fail", 3, 6, None),
        ("fail", 3, 2, [3, 4, 5, 6, 7, 8, 9]),  # what is finished may go
        ("fail", 3, 3, [3, 4, 5, 6, 7, 8, 9]),  # all of it
        ("fail", 0, 6, [6, 7, 8, 9]),  # who begins has decided
    ],
)
async def test_where_others_deleted_messages_before_they_were_handled_the_route_has_decided(
    backing: RedisBacking, expired: Any, stored: int, kept_from: int, arrived: list[int] | None
) -> None:
    async with Scene(backing) as scene:
        publisher, recorder, again = await scene.opened(), scene.recorder(commits=True), scene.recorder()
        stream = stream_of(scene, "one")
        bus = await scene.start(recorder)
        await scene.publish(publisher, 10, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 10)
        await bus.close()
        at = [delivery.position for delivery in recorder.deliveries]
        await backing.client.xtrim(stream, minid=keys.id_of(at[kept_from]), approximate=False)

        async def position(assignment: Assignment) -> int | None:
            return at[stored] if stored and assignment.partition.index == partition else 0

        partition = recorder.deliveries[0].partition.index
        again._route = msgspec.structs.replace(again.route, expired=expired)
        again.on_assigned = position
        bus = await scene.start(again)
        if arrived is None:
            await scene.until(lambda: len(again.held) == scene.all_partitions)
            why = await told_by(bus)
            assert f"messages from {keys.id_of(at[3])} on may have been deleted by something else" in why
            assert f"millrace positions reset {scene.group} {scene.address} --to earliest" in why
            await scene.publish(publisher, 1, keys=["one"])
            assert not again.deliveries
            return
        await scene.until(lambda: again.numbers[: len(arrived)] == arrived and len(again.held) == scene.all_partitions)
        await scene.nothing_more(bus, again)
        assert again.numbers == arrived


async def told_by(bus: Any) -> str:
    """What is said of a bus that can't fetch from some partition."""
    async with asyncio.timeout(20):
        while True:
            try:
                await bus.check()
            except Unavailable as error:
                return str(error)


async def test_when_all_is_finished_others_may_delete_all(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        publisher, recorder, again = await scene.opened(), scene.recorder(commits=True), scene.recorder()
        bus = await scene.start(recorder)
        await scene.publish(publisher, 10, keys=["one"])
        await scene.until(lambda: len(recorder.deliveries) == 10)
        await bus.close()
        await backing.client.xtrim(stream_of(scene, "one"), maxlen=0, approximate=False)
        last = recorder.deliveries[-1]

        async def position(assignment: Assignment) -> int | None:
            return last.position + 1 if assignment.partition == last.partition else None

        again._route = msgspec.structs.replace(again.route, expired="fail")
        again.on_assigned = position
        await scene.start(again)
        await scene.all_held(again)
        await scene.publish(publisher, 1, keys=["one"])
        await scene.until(lambda: again.numbers == [10])


# --- what is lost and made anew -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["group", "stream"])
async def test_a_group_that_is_gone_is_made_again_as_another_incarnation(backing: RedisBacking, what: str) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        await scene.publish(bus, 3, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 3)
        before = recorder.assignment_of(recorder.deliveries[0])
        stream = stream_of(scene, "k")
        if what == "group":
            await backing.client.xgroup_destroy(stream, scene.group)
        else:
            await backing.client.delete(stream)
        await scene.publish(bus, 1, keys=["k"])
        expected = 3 if what == "group" else 0  # a new group begins at the beginning
        await scene.until(lambda: len(recorder.deliveries) == 3 + expected + 1)
        after = recorder.assignment_of(recorder.deliveries[-1])
        assert recorder.numbers[-1] == 3
        assert recorder.revocations == [before.partition]
        assert after.incarnation != before.incarnation
        assert after.epoch > before.epoch
        with pytest.raises(LeaseLost):
            await before.commit(recorder.deliveries[-1].position + 1)
        await bus.check()


async def test_a_stream_that_is_something_else_shows_and_disturbs_no_other(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        stream = stream_of(scene, "k")
        await backing.client.set(stream, "a text")
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.until(lambda: len(recorder.held) == backing.partitions)
        with pytest.raises(Unavailable, match="WRONGTYPE"):
            await bus.check()
        await backing.client.delete(stream)
        await scene.publish(bus, 1, keys=["k"])
        await scene.until(lambda: len(recorder.deliveries) == 1)


# --- connections --------------------------------------------------------------------------------------------------


async def test_a_connection_that_is_cut_costs_nothing(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus, publisher = await scene.start(recorder), await scene.opened()
        await scene.all_held(recorder)
        for _ in range(5):
            await scene.publish(publisher, 40)
            backing.proxy(bus).cut()
        await scene.until(lambda: set(recorder.numbers) == set(range(200)))
        assert not recorder.revocations
        await recorder.commit_all()
        await until(lambda: _is_well(bus), what="a bus that is well again")


async def _is_well(bus: Any) -> bool:
    try:
        await bus.check()
    except Unavailable:
        return False
    return True


async def test_an_answer_that_is_lost_loses_no_message(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus, publisher = await scene.start(recorder), await scene.opened()
        await scene.all_held(recorder)
        await backing.quiet()
        proxy = backing.proxy(bus)
        proxy.stall("answers")
        await scene.publish(publisher, 1, keys=["k"])
        # The wait has ended in Redis; what follows in the same connection is read with its answer lost.
        await until(lambda: proxy.waiting_bytes > 0, what="an answer on its way")
        proxy.cut()
        proxy.resume()
        await scene.until(lambda: recorder.numbers == [0])


async def test_a_server_that_does_not_answer_is_unavailable_within_the_deadline(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        bus = backing.bus(timeout_s=0.3)
        await bus.open()
        await bus.publish(scene.envelope(b"{}"))
        backing.proxy(bus).stall()
        async with asyncio.timeout(3):
            with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
                await bus.publish(*(scene.envelope(b"{}") for _ in range(10)))
            with pytest.raises(Unavailable):
                await bus.check()
        backing.proxy(bus).resume()
        await bus.publish(scene.envelope(b"{}"))
        await bus.close()


async def test_closing_leaves_no_task_and_no_connection(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        bus = backing.bus()
        bus.mount(scene.recorder(), schema={})
        proxy = backing.proxy(bus)
        before = asyncio.all_tasks()
        await bus.open()
        await bus.start()
        await until(lambda: proxy.connections >= 2, what="both connections")
        await bus.close()
        await bus.close()
        await until(lambda: proxy.connections == 0, what="the end of every connection")
        await until(lambda: asyncio.all_tasks() <= before, what="the end of every task")


async def test_closing_while_redis_is_gone_takes_no_longer_than_its_deadlines(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = backing.bus(timeout_s=0.3)
        bus.mount(recorder, schema={})
        await bus.open()
        await bus.start()
        await scene.all_held(recorder)
        backing.proxy(bus).stall()
        async with asyncio.timeout(5):
            await bus.close()
        assert len(recorder.revocations) == scene.all_partitions


# --- rights and TLS -----------------------------------------------------------------------------------------------


def documented_rights(*, without: str = "") -> list[str]:
    rights = re.findall(r"(?<=\s)\+[a-z|]+", redis_stream.__doc__ or "")
    assert len(rights) > 30
    return [right for right in rights if right != without]


@pytest.mark.parametrize("without", ["", "+client|unblock", "+client|id"])
async def test_the_rights_that_are_documented_are_enough(
    backing: RedisBacking, redis_server: services.Running, without: str
) -> None:
    async with Scene(backing) as scene:
        patterns = [f"~{scene.address}", f"~{scene.address}:*", "~millrace:*"]
        async with redis_user(redis_server, *patterns, *documented_rights(without=without)) as url:
            recorder, heir = scene.recorder(), scene.recorder(commits=True)
            bus, other = (RedisStreamBus(url, clock=backing.clock, lease_s=2.0) for _ in range(2))
            try:
                bus.mount(recorder, schema={})
                other.mount(heir, schema={})
                await bus.open()
                await bus.start()
                await scene.publish(bus, 50)
                await scene.until(lambda: len(recorder.deliveries) == 50)
                recorder.pause("test")
                recorder.resume("test")
                await recorder.assignment_of(recorder.deliveries[0]).release([recorder.deliveries[0].position])
                await scene.until(lambda: len(recorder.deliveries) == 51)
                await backing.let_pass(1.1)
                await recorder.assignment_of(recorder.deliveries[0]).commit(recorder.deliveries[0].position + 1)
                await other.open()
                await other.start()
                await bus.check()
                await bus.close()
                await scene.all_held(heir)
                await scene.until(lambda: len(heir.deliveries) >= 49)
                await other.check()
            finally:
                await bus.close()
                await other.close()


async def test_who_only_publishes_needs_less(backing: RedisBacking, redis_server: services.Running) -> None:
    [few] = re.findall(r"only publishes\s+needs `([^`]*)`", redis_stream.__doc__ or "")
    rights = ["~*", *few.split()]
    async with Scene(backing) as scene, redis_user(redis_server, *rights) as url:
        bus = RedisStreamBus(url, clock=backing.clock)
        await bus.open()
        await scene.publish(bus, 5)
        await bus.check()
        await bus.close()


async def test_a_right_that_is_missing_is_named(backing: RedisBacking, redis_server: services.Running) -> None:
    async with Scene(backing) as scene, redis_user(redis_server, "~*", "+ping", "+hsetnx", "+hget") as url:
        bus = RedisStreamBus(url, clock=backing.clock)
        await bus.open()
        with pytest.raises(Unavailable, match="xadd"):
            await scene.publish(bus, 1)
        await bus.close()


async def test_tls(backing: RedisBacking, redis_server: services.Running, tmp_path: Any) -> None:
    import ssl

    authority = Authority(tmp_path)
    async with Scene(backing) as scene, proxied(redis_server, tls=authority.server) as proxy:
        trusting = ssl.create_default_context(cafile=str(authority.ca_file))
        for url, tls in ((f"{proxy.url}?ssl_ca_certs={authority.ca_file}", None), (proxy.url, trusting)):
            recorder = Recorder(scene.recorder().route, scene._changed.set, commits=True)
            bus = RedisStreamBus(url, clock=backing.clock, tls=tls)
            bus.mount(recorder, schema={})
            await bus.open()
            await bus.start()
            await bus.publish(scene.envelope(b"{}"))
            await scene.until(lambda recorder=recorder: len(recorder.deliveries) == 1)  # type: ignore[misc]
            await bus.close()
        stranger = RedisStreamBus(proxy.url, clock=backing.clock)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await stranger.open()
        await stranger.close()
    with pytest.raises(Faults, match="rediss://"):
        RedisStreamBus("redis://127.0.0.1:1/0", clock=backing.clock, tls=trusting)


async def test_no_secret_is_told(caplog: pytest.LogCaptureFixture, backing: RedisBacking) -> None:
    bus = RedisStreamBus("redis://user:geheim@127.0.0.1:1/0", clock=backing.clock, timeout_s=0.5)
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as caught:
        await bus.open()
    assert "127.0.0.1:1" in str(caught.value)
    assert "geheim" not in f"{caught.value} {caplog.text} {bus.address} {bus!r}"
    await bus.close()


# --- consumers that break -----------------------------------------------------------------------------------------


async def test_a_consumer_that_raises_pauses_the_partition_and_shows(
    backing: RedisBacking, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(backing) as scene:
        recorder, heir = scene.recorder(), scene.recorder()

        def fail(assignment: Assignment, _: object) -> None:
            raise RuntimeError("lane table is corrupt")

        recorder.on_fetched = fail
        bus = await scene.start(recorder)
        await scene.publish(bus, 1, keys=["k"])
        await scene.eventually(lambda: bool(recorder.fetches))
        await scene.publish(bus, 1, keys=["k"])
        await backing.quiet()
        assert len(recorder.fetches) == 1
        with pytest.raises(Unavailable, match="lane table is corrupt"):
            await bus.check()
        assert "its consumer raised" in caplog.text
        await bus.close()
        other = await scene.start(heir)
        await scene.nothing_more(other, heir, keys=["k"])
        assert heir.numbers == [0, 1]


async def test_positions_are_the_ids_of_entries(backing: RedisBacking) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        await scene.start(recorder)
        entry_id: Any = await backing.client.xadd(scene.address, {"data": "{}"}, id="5-18446744073709551615")
        await scene.until(lambda: len(recorder.deliveries) == 1)
        [delivery] = recorder.deliveries
        assert keys.id_of(delivery.position).encode() == entry_id
        assert delivery.partition == Partition(scene.address, backing.partitions)
        await recorder.assignment_of(delivery).commit(delivery.position + 1)
        assert (await groups(backing.client, scene.address))[scene.group]["pending"] == 0
