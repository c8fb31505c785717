"""The parts of the Redis bus that need no Redis: names, positions, entries, what is out and what is ready."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bus.redis_stream import keys
from adapters.bus.redis_stream.delivery import delivery_of
from adapters.bus.redis_stream.entry import envelope_of, fields_of
from adapters.bus.redis_stream.outstanding import Outstanding
from adapters.bus.redis_stream.publishing import Addresses
from adapters.bus.redis_stream.ready import Ready
from adapters.bus.redis_stream.server import Server
from adapters.bus.redis_stream.share import share_of
from adapters.bus.wire import from_wire, key_text
from contracts.errors import Faults
from contracts.message import CORRELATION_ID, Delivery, Envelope, Partition

HERE = Partition("orders", 0)
ENTRY = b"1767323045678-3"
POSITIONS = st.integers(min_value=0, max_value=2**128 - 1)


def envelope(body: bytes = b"{}", **fields: object) -> Envelope:
    given = {"id": "m", "correlation_id": "c", "published_at": datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)}
    return Envelope(**{"address": "orders", "body": body, **given, **fields})  # type: ignore[arg-type]


def flat(given: Envelope) -> tuple[bytes, ...]:
    return tuple(field if isinstance(field, bytes) else field.encode() for field in fields_of(given))


def read(*fields: bytes) -> Envelope:
    return envelope_of("orders", "orders", ENTRY, fields)


# --- names and positions ------------------------------------------------------------------------------------------


def test_the_bare_address_is_the_last_partition() -> None:
    assert [keys.stream_of("orders", index, 2) for index in range(3)] == ["orders:0", "orders:1", "orders"]


def test_a_key_has_the_same_partition_everywhere() -> None:
    assert [keys.partition_of(key, 2**32) for key in ("", "123456789")] == [0, 0xCBF43926]


def test_what_belongs_to_a_stream_hashes_to_its_slot() -> None:
    for key in (keys.lease("orders:3", "g"), keys.token("orders:3", "g"), keys.made("orders:3")):
        assert key.startswith("millrace:{orders:3}:")


@given(POSITIONS)
def test_positions_are_entry_ids(position: int) -> None:
    assert keys.position_of(keys.id_of(position).encode()) == position
    assert keys.position_of(keys.id_before(position + 1).encode()) == position


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=2))
def test_positions_have_the_order_of_the_ids(pairs: list[tuple[int, int]]) -> None:
    positions = [keys.position_of(f"{ms}-{seq}".encode()) for ms, seq in sorted(pairs)]
    assert positions == sorted(positions)


# --- entries ------------------------------------------------------------------------------------------------------

ENVELOPES = st.builds(
    envelope,
    st.binary(max_size=20),
    id=st.from_regex(CORRELATION_ID, fullmatch=True),
    correlation_id=st.from_regex(CORRELATION_ID, fullmatch=True),
    key=st.none() | st.text(),
    headers=st.dictionaries(
        st.text(min_size=1).filter(lambda name: not name.startswith(("h:", "ce"))).filter(lambda name: "-" not in name),
        st.text(),
        max_size=3,
    ),
    published_at=st.datetimes(timezones=st.just(UTC)),
    not_before=st.none() | st.datetimes(timezones=st.just(UTC)),
    priority=st.integers(-100, 100),
)


@given(ENVELOPES)
def test_what_was_written_is_read(given: Envelope) -> None:
    assert envelope_of("orders", "orders:1", ENTRY, flat(given)) == given


@given(
    identity=st.binary(max_size=10),
    correlation=st.binary(max_size=10),
    published=st.binary(max_size=10) | st.just(b"2026-01-02T03:04:05+01:00") | st.just(b"2026-01-02T03:04:05"),
    key=st.none() | st.binary(max_size=5),
)
def test_the_short_way_reads_what_the_long_one_does(
    identity: bytes, correlation: bytes, published: bytes, key: bytes | None
) -> None:
    fields = [b"body", b"x", b"h:message-id", identity, b"h:correlation-id", correlation, b"h:published-at", published]
    found = read(*fields, *(() if key is None else (b"key", key)))
    expected = from_wire(
        "orders",
        b"x",
        key=key_text(key),
        headers=[("message-id", identity), ("correlation-id", correlation), ("published-at", published)],
        origin="orders:1767323045678-3",
        stored_ms=1767323045678,
    )
    assert found == expected


@given(
    st.just(flat(envelope(key="k")))
    | st.just(flat(envelope(headers={"a": "b"})))
    | st.just(flat(envelope(not_before=datetime(2027, 1, 1, tzinfo=UTC))))
    | st.just((b"body", b"\x89BIN\r\n\x1a\n"))
    | st.just((b"not-before", b"2027-01-01T00:00:00Z"))
    | st.just(()),
    st.lists(
        st.tuples(
            st.sampled_from([b"body", b"key", b"data", b"payload", b"h:message-id", b"ce_partitionkey", b"a"]),
            st.binary(),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_a_delivery_says_what_its_envelope_does(
    ours: tuple[bytes, ...], others: list[tuple[bytes, bytes]], after: bool
) -> None:
    more = tuple(part for pair in others for part in pair)
    fields = ours + more if after else more + ours
    delivery = delivery_of(ENTRY, list(fields), "orders:0", HERE, 5)
    said = (delivery.body, delivery.key, delivery.size_bytes, delivery.not_before)
    made = delivery.envelope
    assert said == (made.body, made.key, len(made.body), made.not_before)
    assert delivery.envelope is delivery.envelope
    assert delivery.envelope == envelope_of("orders", "orders:0", ENTRY, fields)


@pytest.mark.parametrize("name", [b"body", b"data", b"__data__", b"payload", b"anything"])
def test_one_field_is_the_payload_whatever_its_name(name: bytes) -> None:
    found = read(name, b'{"number": 1}')
    assert (found.body, found.key, found.headers) == (b'{"number": 1}', None, {})
    assert found.id == found.correlation_id == "orders:1767323045678-3"
    assert found.published_at == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def test_beside_a_payload_there_are_a_key_and_headers() -> None:
    found = read(b"data", b"{}", b"key", b"k", b"tenant", b"blue", b"h:region", b"eu", b"message-id", b"order-1")
    assert (found.body, found.key, found.id) == (b"{}", "k", "order-1")
    assert found.headers == {"tenant": "blue", "region": "eu"}


def test_fields_without_a_payload_are_one_object() -> None:
    found = read(b"number", b"1", b"note", b'"\xc3\xa9\xff')
    assert found.body == '{"number":"1","note":"\\"é\ufffd"}'.encode()
    assert found.headers == {}


def test_an_entry_without_fields_is_an_empty_object() -> None:
    assert read().body == b"{}"


async def native(body: bytes) -> bytes:
    from faststream.redis.parser import BinaryMessageFormatV1

    encoded: bytes = await BinaryMessageFormatV1.encode(
        message=body, reply_to="", headers={"tenant": "blue", "message-id": "m-1"}, correlation_id="c-1"
    )
    return encoded


@pytest.mark.anyio
async def test_what_faststream_publishes_is_understood() -> None:
    found = read(b"__data__", await native(b'{"number": 1}'))
    assert (found.body, found.id, found.correlation_id) == (b'{"number": 1}', "m-1", "c-1")
    assert found.headers["tenant"] == "blue"


# --- who owns what ------------------------------------------------------------------------------------------------


def shares(living: list[str], owners: dict[int, str], partitions: int) -> dict[str, set[int]]:
    return {member: share_of(member, living, owners, partitions) for member in living}


def owned(found: dict[str, set[int]]) -> dict[int, str]:
    return {index: member for member, share in found.items() for index in share}


@given(st.integers(1, 12), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_numbered_partitions_are_shared_evenly_whoever_comes_and_goes(partitions: int, sizes: list[int]) -> None:
    owners: dict[int, str] = {}
    for size in sizes:
        living = [f"m{number}" for number in range(size)]
        owners = {index: owner for index, owner in owners.items() if owner in living}
        found = shares(living, owners, partitions)
        counts = sorted(len(share - {partitions}) for share in found.values())
        assert counts[-1] - counts[0] <= 1
        owners = owned(found)
        assert sorted(owners) == list(range(partitions + 1)), "each is somebody's"
        assert sum(map(len, found.values())) == partitions + 1, "and nobody else's"
        assert len(found[owners[partitions]]) == counts[0] + 1, "the bare address is with who has the fewest"
        assert shares(living, owners, partitions) == found, "and then nothing moves"


def test_what_somebody_who_drains_owns_is_left_to_it() -> None:
    assert share_of("b", ["b"], {0: "a", 2: "a"}, 2) == {1}


# --- what is out --------------------------------------------------------------------------------------------------


def out(*positions: int) -> Outstanding:
    made = Outstanding()
    for position in positions:
        made.add([position], [str(position).encode()])
    return made


def test_what_is_out_is_in_order_and_there_once() -> None:
    made = out(5, 1, 3, 3, 1)
    made.add([3, 4, 5, 7], [b"3", b"4", b"5", b"7"])
    made.add([8, 9], [b"8", b"9"])
    assert list(made.below(9)) == [b"1", b"3", b"4", b"5", b"7", b"8"]


def test_a_commit_finishes_what_is_below_it() -> None:
    made = out(1, 2, 3)
    made.finish_below(3)
    assert [made.id_of(position) for position in (1, 2, 3)] == [None, None, b"3"]
    made.finish(3)
    assert list(made.below(9)) == []


def test_what_is_handed_back_comes_once_and_in_order() -> None:
    made = out(1, 2, 3, 4)
    made.hand_back([4, 2, 2, 9])
    assert made.waits
    assert [made.take_back(count) for count in (1, 5, 5)] == [[2], [4], []]
    assert list(made.below(9)) == [b"1", b"2", b"3", b"4"], "it is out still"


def test_what_is_finished_is_not_handed_back() -> None:
    made = out(1, 2, 3)
    made.hand_back([1, 3])
    made.finish_below(2)
    made.hand_back([1])
    assert made.take_back(5) == [3]
    made.hand_back([3])
    made.finish(3)
    assert not made.waits
    assert made.take_back(5) == []


# --- what is ready ------------------------------------------------------------------------------------------------


def deliveries(*positions: int, size: int = 1) -> list[Delivery]:
    return [Delivery(envelope(b"x" * size), HERE, position) for position in positions]


def taken(ready: Ready, *, rows: int = 100, size: int = 100) -> list[int]:
    return [delivery.position for delivery in ready.take(rows, size)]


def test_a_fetch_has_what_fits() -> None:
    ready = Ready()
    ready.add(deliveries(1, 2, 3), 3)
    assert taken(ready, rows=2) == [1, 2]
    ready.add(deliveries(4, size=50), 50)
    assert taken(ready, size=10) == [3]
    assert taken(ready, size=10) == [4], "what is larger than a fetch comes alone"
    assert taken(ready) == []


def test_a_fetch_is_in_order_of_position() -> None:
    ready = Ready()
    ready.add(deliveries(7, 8), 2)
    ready.add_first(deliveries(2, 3), 2)
    assert taken(ready) == [2, 3, 7, 8]
    ready.add(deliveries(9), 1)
    ready.add(deliveries(4, 5), 2)
    assert taken(ready) == [9]
    assert taken(ready) == [4, 5]


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 9), min_size=1, max_size=5)), max_size=8),
    st.integers(1, 6),
    st.integers(1, 20),
)
def test_all_that_was_added_is_taken_in_fetches_that_rise(
    added: list[tuple[bool, list[int]]], rows: int, size: int
) -> None:
    ready = Ready()
    expected: list[int] = []
    for first, positions in added:
        positions = sorted(set(positions))
        (ready.add_first if first else ready.add)(deliveries(*positions, size=2), 2 * len(positions))
        expected = positions + expected if first else expected + positions
    found: list[int] = []
    while fetch := taken(ready, rows=rows, size=size):
        assert fetch == sorted(set(fetch))
        assert len(fetch) <= rows
        assert len(fetch) == 1 or 2 * len(fetch) <= size
        found += fetch
    assert found == expected
    assert len(ready) == 0


# --- where Redis is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:geheim@example.org:7000/3?client_name=x", "redis://example.org:7000/3"),
        ("rediss://:geheim@example.org", "rediss://example.org:6379"),
        ("unix:///run/redis.sock?password=geheim", "unix:///run/redis.sock"),
    ],
)
def test_an_address_has_no_secrets(url: str, shown: str) -> None:
    assert Server(url).address == shown


@pytest.mark.parametrize("url", ["http://example.org", "redis://example.org/?socket_timeout=soon"])
def test_a_url_that_is_no_redis_is_refused(url: str) -> None:
    with pytest.raises(Faults, match="redis://"):
        Server(url)


def test_one_process_declares_one_number() -> None:
    addresses = Addresses()
    addresses.declare("orders", 4)
    addresses.declare("orders", 4)
    with pytest.raises(Faults, match="declared with 6 partitions, and with 4 before"):
        addresses.declare("orders", 6)
    with pytest.raises(Faults, match="at least 1"):
        addresses.declare("empty", 0)


def test_who_gives_something_up_is_given_nothing_when_another_one_comes() -> None:
    """Names rise with the time at which members came; on the way there some partitions are nobody's."""
    before = {0: "a", 1: "a", 4: "a", 2: "b", 3: "b"}
    for owners in (before, {**before, 3: "c"}, {index: who for index, who in {**before, 3: "c"}.items() if index != 4}):
        assert share_of("b", ["a", "b", "c"], owners, 4) == {2}
        assert share_of("c", ["a", "b", "c"], owners, 4) == {3, 4}
