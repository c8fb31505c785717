"""Files become tables: the modes, the counts, and what a second run changes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from adapters.database.postgres import PostgresDb
from tests.modules.batch_etl_kit import Etl, adds_up, declared

pytestmark = pytest.mark.anyio

ORDERS = declared(
    [
        {"name": "order_id", "type": "int"},
        {"name": "customer", "type": "text", "personal": True},
        {"name": "quantity", "type": "int", "min": 1},
        {"name": "price", "type": "decimal", "precision": 10, "scale": 2},
        {"name": "ordered_at", "type": "timestamp", "nullable": False},
    ],
    key=["order_id"],
)
HEADER = "order_id,customer,quantity,price,ordered_at\n"


@pytest.fixture
def etl(db: PostgresDb, tmp_path: Path) -> Etl:
    return Etl(db, tmp_path)


async def test_a_file_becomes_a_table(etl: Etl) -> None:
    etl.put(
        "orders.csv",
        HEADER
        + "2,ann,1,9.50,2025-01-01T10:00:00Z\n"
        + "1,bob,2,1.5,2025-01-02 11:30:00+02:00\n"
        + "x,eve,0,1.555,yesterday\n"
        + "2,cid,3,,2025-01-03T00:00:00.5Z\n"
        + "3,dan\n"
        + '4,"e,f",1,"2.00",2025-01-01\n',
    )
    report = await etl.run(ORDERS)
    assert (report.read, report.loaded, report.duplicate, report.rejected) == (6, 3, 1, 2)
    assert adds_up(report)
    rows = await etl.rows("select order_id, customer, quantity, price, ordered_at::text from orders order by 1")
    assert [row[:4] for row in rows] == [
        (1, "bob", 2, Decimal("1.50")),
        (2, "cid", 3, None),
        (4, "e,f", 1, Decimal("2.00")),
    ]
    assert await etl.quarantine(ORDERS) == [
        (
            "orders.csv",
            4,
            [
                "order_id: 'x' is not an int",
                "quantity: '0' is below min, 1",
                "price: '1.555' has more than 2 digits after the point",
                "ordered_at: 'yesterday' is not a timestamp like 2025-01-31T12:00:00Z",
            ],
            "x,***,0,1.555,yesterday",
        ),
        ("orders.csv", 6, [": row has 2 fields, 5 expected"], "*** (could not be split, and has personal columns)"),
    ]
    again = await etl.run(ORDERS)
    assert (again.read, again.files_skipped) == (0, 1)
    assert await etl.rows(
        "select is_primary from (select indisprimary as is_primary from pg_index where indrelid = 'orders'::regclass) i"
    ) == [(True,)]


async def test_a_changed_file_is_merged(etl: Etl) -> None:
    etl.put("orders.csv", HEADER + "".join(f"{n},c{n},1,1.00,2025-01-01T00:00:00Z\n" for n in range(10)))
    await etl.run(ORDERS)
    etl.put(
        "orders.csv",
        HEADER
        + "".join(f"{n},c{n},1,1.00,2025-01-01T00:00:00Z\n" for n in range(8))
        + "8,other,1,1.00,2025-01-01T00:00:00Z\n"
        + "11,new,1,1.00,2025-01-01T00:00:00Z\n",
    )
    report = await etl.run(ORDERS)
    assert (report.read, report.loaded, report.updated, report.unchanged) == (10, 1, 1, 8)
    assert await etl.rows("select count(*), min(customer) filter (where order_id = 8) from orders") == [(11, "other")]
