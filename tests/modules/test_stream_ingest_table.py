"""Events into a table: made or checked, with and without a key, and what is refused beside it."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from adapters.database.postgres import PostgresDb
from adapters.files.local import LocalFiles
from contracts.batch_etl import ExportQuarantine, ListQuarantine, ShowQuarantined
from contracts.errors import Faults, Permanent
from contracts.event import Event
from contracts.stream_ingest import BatchLanded
from modules.batch_etl.module import export_quarantine, list_quarantine, show_quarantined
from modules.stream_ingest import shelf, table
from modules.stream_ingest.measures import EVENTS, LAND_LATENCY
from modules.stream_ingest.module import forget_expired
from tests.modules.batch_etl_kit import SilentLog
from tests.modules.stream_ingest_kit import ORDER_COLUMNS, Crashed, Lander, days_ago, declared, order

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

KEYED = declared({"table": "shop.orders", "key": ["order_id"]})
APPENDED = declared({"table": "orders"})

ALL_COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int", "nullable": False},
    {"name": "select", "type": "text"},
    {"name": "ratio", "type": "float"},
    {"name": "price", "type": "decimal", "precision": 20, "scale": 4},
    {"name": "good", "type": "bool"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "timestamp"},
    {"name": "extra", "type": "json"},
    {"name": "ident", "type": "uuid"},
    {"name": "currency", "type": "text", "default": "EUR", "nullable": False},
]


async def lander(db: PostgresDb, root: Path, event: Any) -> Lander:
    made = Lander(db, root, event)
    await made.prepare()
    return made


@pytest.mark.parametrize("key", [[], ["id"]])
async def test_every_type_arrives_as_it_is(db: PostgresDb, tmp_path: Path, key: list[str]) -> None:
    ingest = await lander(db, tmp_path, declared({"table": "things", "key": key}, ALL_COLUMNS, time=None))
    ident = "12345678-1234-5678-1234-567812345678"
    full = {
        "id": 1, "select": "x'\"\\y", "ratio": 0.1, "price": "12.3456", "good": True, "day": "2024-02-29",
        "at": "2024-02-29T12:00:00+02:00", "extra": [1, {"a": None}, [2]], "ident": ident, "currency": "USD",
    }  # fmt: skip
    await ingest.land(
        msgspec.json.encode(full), b'{"id": 2}', b'{"id": 3, "extra": "text"}', b'{"id": 4, "extra": [[]]}'
    )
    rows = await ingest.rows("select * from things order by id")
    assert rows[0] == (
        1, "x'\"\\y", 0.1, Decimal("12.3456"), True, date(2024, 2, 29), datetime(2024, 2, 29, 10, tzinfo=UTC),
        [1, {"a": None}, [2]], UUID(ident), "USD",
    )  # fmt: skip
    assert rows[1] == (2, *[None] * 8, "EUR")
    assert [row[7] for row in rows[2:]] == ["text", [[]]]


async def test_without_a_key_every_event_is_a_row(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, APPENDED)
    await ingest.land(order(1), order(1))
    await ingest.land(order(1))
    assert await ingest.rows("select count(*) from orders") == [(3,)]


async def test_with_a_key_the_last_row_of_a_key_wins(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, KEYED)
    await ingest.land(order(2, amount="1"), order(1, amount="2"), order(2, amount="3"))
    await ingest.land(order(1, amount="4"), order(3, amount="5"))
    rows = await ingest.rows("select order_id, amount from shop.orders order by 1")
    assert rows == [(1, Decimal(4)), (2, Decimal(3)), (3, Decimal(5))]


async def test_a_key_of_all_columns_keeps_one_of_each(db: PostgresDb, tmp_path: Path) -> None:
    columns = [{"name": name, "type": "int", "nullable": False} for name in ("a", "b")]
    ingest = await lander(db, tmp_path, declared({"table": "pairs", "key": ["b", "a"]}, columns, time=None))
    await ingest.land(*[msgspec.json.encode({"a": a, "b": 1}) for a in (1, 2, 1)])
    await ingest.land(b'{"a": 2, "b": 1}')
    assert await ingest.rows("select a, b from pairs order by a") == [(1, 1), (2, 1)]


async def test_a_session_serves_one_declaration_after_the_other(db: PostgresDb, tmp_path: Path) -> None:
    """Nothing that one of them left there gets into the other's table."""
    for columns in (ORDER_COLUMNS, [*ORDER_COLUMNS, {"name": "note"}]):
        name = f"orders_{len(columns)}"
        ingest = await lander(db, tmp_path, declared({"table": name, "key": ["order_id"]}, columns))
        with pytest.raises(Crashed):
            await ingest.land(order(9), crash=True)
        await ingest.land(order(1))
        await ingest.land(order(2))
        assert await ingest.rows(f"select order_id from {name} order by 1") == [(1,), (2,)]  # noqa: S608


async def test_batches_that_share_keys_never_wait_in_a_circle(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, KEYED)
    others = [Lander(db, tmp_path, KEYED, index=index) for index in range(4)]
    numbers = range(1, 200)
    await asyncio.gather(
        *(other.land(*map(order, numbers if at % 2 else reversed(numbers))) for at, other in enumerate(others))
    )
    assert await ingest.rows("select count(*) from shop.orders") == [(199,)]


async def test_what_is_refused_is_kept_and_the_rest_lands(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, KEYED)
    await ingest.land(
        order(1), order(0, who="ada"), b"ada\xff{", order(2), order(3, at=days_ago(-2)), positions=range(10, 15)
    )
    assert await ingest.rows("select order_id from shop.orders order by 1") == [(1,), (2,)]
    hidden = order(0, who="***").decode()
    assert await ingest.refused() == [
        (11, "order_id", "not allowed", hidden),
        (12, "", "not json", "***"),
        (14, "placed_at", "too far in the future", order(3, who="***", at=days_ago(-2)).decode()),
    ]
    counts = {
        outcome: ingest.metrics.value(EVENTS, event="order_placed", outcome=outcome)
        for outcome in ("landed", "quarantined")
    }
    assert counts == {"landed": 2, "quarantined": 3}
    assert ingest.metrics.observations(LAND_LATENCY, event="order_placed") == [0.0]


async def test_without_personal_columns_the_text_is_kept_as_it_came(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, declared({"table": "things"}, ALL_COLUMNS, time=None))
    await ingest.land(b"\xff\0" + b"x" * 10_000)
    [(_, _, code, raw)] = await ingest.refused()
    assert code == "not json"
    assert raw.startswith("\\xff\\x00xxx")
    assert await ingest.rows("select raw_bytes, escaped, expires_at from millrace.quarantine") == [
        (10_002, True, days_ago(-30))
    ]


async def test_where_positions_have_gaps_the_first_of_the_batch_is_told(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, APPENDED)
    await ingest.land(b"x", order(1), b"y", positions=range(1 << 90, (1 << 90) + (1 << 70)))
    assert [position for position, *_ in await ingest.refused()] == [1 << 90] * 2


async def test_refused_messages_are_listed_with_refused_rows(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, APPENDED)
    await ingest.land(b"x", order(1), b"{}")
    await ingest.land(b"y")
    listed = await list_quarantine(ListQuarantine(dataset="order_placed"), db)
    assert [(row.file, row.partition, row.line) for row in listed] == [("orders.placed", 0, at) for at in (0, 2, 3)]
    assert listed[1].reasons == ("column order_id: Object missing required field `order_id`",)
    shown = await show_quarantined(ShowQuarantined(id=listed[0].id), db)
    assert shown == listed[0]
    cmd = ExportQuarantine(dataset="order_placed", to="out.jsonl", file="orders.placed")
    done = await export_quarantine(cmd, db, LocalFiles(tmp_path))
    assert done.rows == 3


async def test_a_topic_made_anew_may_refuse_the_same_position_again(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, APPENDED)
    for _ in range(2):
        await ingest.land(b"x", positions=range(1))
    assert len(await ingest.refused()) == 2


async def test_refused_messages_go_when_their_time_is_over(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, APPENDED)
    await ingest.land(b"x")
    await db.execute("update millrace.quarantine set expires_at = now() - interval '1 second'")
    await ingest.land(order(1))
    assert len(await ingest.refused()) == 1, "not with every batch"
    await ingest.wait(3600)
    await ingest.land(order(2))
    assert await ingest.refused() == []
    await ingest.land(b"x")
    await db.execute("update millrace.quarantine set expires_at = now() - interval '1 second'")
    await forget_expired(db, SilentLog())
    assert await ingest.refused() == []


async def test_many_that_are_over_go_with_batch_after_batch(
    db: PostgresDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "FORGOTTEN_AT_ONCE", 2)
    ingest = await lander(db, tmp_path, APPENDED)
    await ingest.land(*[b"x"] * 5)
    await db.execute("update millrace.quarantine set expires_at = now() - interval '1 second'")
    await ingest.wait(3600)
    for left in (3, 1, 0):
        await ingest.land(order(1))
        assert len(await ingest.refused()) == left


async def test_a_batch_that_fails_leaves_nothing(db: PostgresDb, tmp_path: Path) -> None:
    ingest = await lander(db, tmp_path, KEYED)
    with pytest.raises(Crashed):
        await ingest.land(order(1), b"x", crash=True)
    assert await ingest.rows("select count(*) from shop.orders") == [(0,)]
    assert await ingest.refused() == []
    await ingest.land(order(1), b"x")
    assert await ingest.rows("select count(*) from shop.orders") == [(1,)]
    assert len(await ingest.refused()) == 1


async def test_batches_are_announced_where_that_is_declared(db: PostgresDb, tmp_path: Path) -> None:
    quiet = await lander(db, tmp_path, APPENDED)
    await quiet.land(order(1))
    assert quiet.emitted == []
    ingest = await lander(db, tmp_path, declared({"table": "orders", "announce": "batches"}))
    await ingest.land(order(1), b"x", order(2), positions=range(7, 10))
    await ingest.land(b"x")
    assert ingest.emitted == [
        BatchLanded(
            event="order_placed",
            topic="orders.placed",
            partition=0,
            first_position=7,
            last_position=9,
            rows=2,
            quarantined=1,
            table="orders",
        )
    ]


# The table.


async def test_a_table_is_made_once_by_whoever_comes_first(db: PostgresDb) -> None:
    target = table.Target.of(KEYED)
    assert target is not None
    made = await asyncio.gather(*(table.prepare(db, target) for _ in range(5)))
    assert sorted(made) == [False] * 4 + [True]
    found = await db.fetch(
        "select column_name, is_nullable from information_schema.columns where table_name = 'orders'"
        " order by ordinal_position"
    )
    assert [tuple(row.values()) for row in found] == [
        ("order_id", "NO"), ("customer", "YES"), ("placed_at", "NO"), ("amount", "YES"),
    ]  # fmt: skip


async def test_a_table_that_others_made_will_do(db: PostgresDb, tmp_path: Path) -> None:
    await db.execute(
        "create table orders (noted_at timestamptz not null default now(), amount numeric, order_id bigint not null,"
        " placed_at timestamptz, customer varchar); create unique index on orders (order_id)"
    )
    ingest = await lander(db, tmp_path, declared({"table": "orders", "key": ["order_id"]}))
    await ingest.land(order(1), order(1))
    assert await ingest.rows("select order_id, customer from orders") == [(1, "ada")]


async def test_everything_that_does_not_fit_is_told_at_once(db: PostgresDb, tmp_path: Path) -> None:
    await db.execute(
        "create table orders (order_id integer, customer text not null,"
        " amount numeric(12, 2) generated always as (1) stored, shop text not null)"
    )
    with pytest.raises(Faults) as caught:
        await lander(db, tmp_path, declared({"table": "orders", "key": ["order_id"]}))
    assert caught.value.faults == [
        "column order_id is integer, the event declares bigint",
        "column customer is not null, the event declares it nullable",
        'column placed_at is missing: alter table … add column "placed_at" timestamp with time zone',
        "column amount is generated by the table, so nothing can be put there",
        "column shop needs a value (not null, without a default), and the event does not declare it",
        "there is no unique index on the key: create unique index on … (order_id)",
    ]


async def test_a_view_is_no_table(db: PostgresDb, tmp_path: Path) -> None:
    await db.execute("create view orders as select 1 as order_id")
    with pytest.raises(Faults, match="it is a view"):
        await lander(db, tmp_path, APPENDED)


async def test_what_only_the_table_refuses_is_permanent_and_nothing_of_the_batch_lands(
    db: PostgresDb, tmp_path: Path
) -> None:
    ingest = await lander(db, tmp_path, KEYED)
    await db.execute("alter table shop.orders add check (amount < 5)")
    with pytest.raises(Permanent):
        await ingest.land(order(1), order(2, amount="7"))
    assert await ingest.rows("select count(*) from shop.orders") == [(0,)]


def test_a_key_that_can_be_null_is_refused() -> None:
    land = {"table": "t", "key": ["customer"]}
    event = msgspec.convert({"name": "e", "topic": "t", "columns": ORDER_COLUMNS, "land": land}, type=Event)
    assert event.faults() == [("land.key[0]", "customer must have nullable: false, or a default: null equals nothing")]
