"""Bus promises: what others publish, with clients of their own, arrives as a message."""

from __future__ import annotations

from datetime import UTC, datetime

from contracts.message import CORRELATION_ID, Delivery, Envelope
from tests.conformance.bus_promise import promise
from tests.conformance.bus_scene import Backing, Recorder, Scene


async def _raw(scene: Scene, recorder: Recorder, body: bytes, *, key: str | None = None, **headers: str) -> Envelope:
    """What arrives of a raw message; `_` in the name of a header is written as `-`, unless it is CloudEvents' own."""
    given = {name if name.startswith("ce_") else name.replace("_", "-"): value for name, value in headers.items()}
    seen = len(recorder.deliveries)
    await scene.backing.publish_raw(scene.address, body, key=key, headers=given or None)
    await scene.until(lambda: len(recorder.deliveries) == seen + 1)
    delivery: Delivery = recorder.deliveries[-1]
    return delivery.envelope


@promise
async def raw_json_is_a_message(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        await scene.start(recorder)
        first = await _raw(scene, recorder, b'{"number": 1}')
        assert (first.body, first.key, first.address) == (b'{"number": 1}', None, scene.address)
        second = await _raw(scene, recorder, b'{"number": 2}', key="schlüssel")
        assert (second.body, second.key) == (b'{"number": 2}', "schlüssel")
        for envelope in (first, second):
            assert CORRELATION_ID.fullmatch(envelope.id)
            assert CORRELATION_ID.fullmatch(envelope.correlation_id)
            assert envelope.published_at is not None
            assert envelope.not_before is None
            assert envelope.priority == 0
        assert first.id != second.id


@promise
async def a_raw_message_keeps_its_identity_when_it_comes_again(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        bus = await scene.start(recorder)
        await scene.all_held(recorder)
        first = await _raw(scene, recorder, b"{}")
        await bus.close()
        heir = scene.recorder()
        await scene.start(heir)
        await scene.until(lambda: bool(heir.deliveries))
        assert heir.deliveries[0].envelope.id == first.id, "who deduplicates by id would take it for another"


@promise
async def headers_of_strangers_are_kept_and_say_who_it_is(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        await scene.start(recorder)
        named = await _raw(scene, recorder, b"{}", message_id="order-1", correlation_id="web:42", tenant="blue ☕")
        assert (named.id, named.correlation_id) == ("order-1", "web:42")
        assert named.headers["tenant"] == "blue ☕"
        unsafe = await _raw(scene, recorder, b"{}", message_id="line\nbreak", correlation_id="two words")
        assert CORRELATION_ID.fullmatch(unsafe.id)
        assert CORRELATION_ID.fullmatch(unsafe.correlation_id)


@promise
async def our_own_headers_may_be_written_by_hand(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        await scene.start(recorder)
        written = await _raw(
            scene,
            recorder,
            b"{}",
            published_at="2025-01-02T03:04:05.678Z",
            not_before="2025-01-02T04:04:05+01:00",
            priority="7",
        )
        assert written.published_at == datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
        assert written.not_before == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert written.priority == 7
        odd = await _raw(scene, recorder, b"{}", published_at="yesterday", not_before="soon", priority="high")
        assert odd.published_at is not None
        assert (odd.not_before, odd.priority) == (None, 0), "what can't be read counts as absent"


@promise
async def the_headers_of_cloud_events_are_honoured(backing: Backing) -> None:
    async with Scene(backing) as scene:
        recorder = scene.recorder()
        await scene.start(recorder)
        event = {"ce_specversion": "1.0", "ce_type": "order.placed", "ce_source": "/shop"}
        placed = await _raw(
            scene,
            recorder,
            b"{}",
            **event,
            ce_id="A-1",
            ce_time="2026-01-02T03:04:05Z",
            ce_partitionkey="kunde-7",
        )
        assert (placed.id, placed.key) == ("A-1", "kunde-7")
        assert placed.published_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert placed.headers["ce_type"] == "order.placed"
        both = await _raw(scene, recorder, b"{}", key="mine", **event, ce_id="A-2", ce_partitionkey="b", message_id="m")
        assert (both.id, both.key) == ("m", "mine"), "our own say more"
        seen = len(recorder.deliveries)
        await backing.publish_raw(scene.address, b"{}", headers={"ce-id": "A-3", "ce-time": "2026-01-02T03:04:05Z"})
        await scene.until(lambda: len(recorder.deliveries) == seen + 1)
        assert recorder.deliveries[-1].envelope.id == "A-3"
