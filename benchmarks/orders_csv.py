"""The file that the loads are measured on: 7 columns, 1 % duplicate keys, 0.5 % bad rows, always the same."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

HEADER = "order_id,customer_id,sku,quantity,price,ordered_at,note"
NOTES = ("", "left at door", "call first", '"gift wrap, please"', "fragile", '"ring ""twice"""', "after 5 pm", "", "")
FIRST_DAY = datetime(2025, 1, 1)  # noqa: DTZ001 - written with a Z

DATASET = """\
name: orders
table: orders
source: orders.csv
key: [order_id]
duplicates: {keep: first}
columns:
  - {name: order_id, type: int, nullable: false}
  - {name: customer_id, type: int}
  - {name: sku}
  - {name: quantity, type: int}
  - {name: price, type: decimal, precision: 12, scale: 2}
  - {name: ordered_at, type: timestamp}
  - {name: note}
"""


def write(path: Path, rows: int, *, changed: bool = False) -> None:
    """`changed` gives every hundredth row another quantity: the same keys, for a reload."""
    made = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        lines = []
        for number in range(1, rows + 1):
            lines.append(_line(made, number, changed))
            if len(lines) == 20_000 or number == rows:
                file.write("\n".join(lines) + "\n")
                lines.clear()


def _line(made: random.Random, number: int, changed: bool) -> str:
    key = made.randrange(1, number) if number > 1 and made.random() < 0.01 else number
    at = FIRST_DAY + timedelta(seconds=made.randrange(31_536_000), milliseconds=made.randrange(1000))
    row = [
        str(key),
        str(made.randrange(1, 200_000)),
        f"SKU-{made.randrange(1_000_000):06d}",
        str(made.randrange(1, 100) + (100 if changed and number % 100 == 0 else 0)),
        f"{made.randrange(5000)}.{made.randrange(100):02d}",
        f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        made.choice(NOTES),
    ]
    kind = made.random()
    if kind < 0.005:
        column, value = ((0, f"x{key}"), (3, "many"), (4, "free"), (5, "2025-13-45T00:00:00Z"), (0, ""))[
            int(kind * 1000)
        ]
        row[column] = value
    return ",".join(row)
