"""Makes the files beside it, the same ones every time: `python examples/generate.py`.

They are invented, but have what real ones have: duplicates, a corrected delivery, missing and impossible values.
"""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
TRIP_COLUMNS = (
    "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,rate_code_id,store_and_fwd_flag,"
    "pickup_location_id,dropoff_location_id,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
    "improvement_surcharge,total_amount,congestion_surcharge"
)


def trips(day: date, rows: int) -> str:
    """A day of taxi trips, as the New York TLC writes them: wall-clock times, Windows line ends."""
    random_ = random.Random(f"trips {day}")  # noqa: S311 - the same files every time
    lines = []
    for _ in range(rows):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(
            seconds=int(86_400 * random_.betavariate(3, 2))
        )
        distance = Decimal(str(round(random_.expovariate(1 / 2.8), 2)))
        minutes = 3 + float(distance) * random_.uniform(2.5, 6)
        fare = (Decimal("2.5") + (distance * Decimal("2.5") * 2).quantize(Decimal(1)) / 2).quantize(Decimal("0.1"))
        extra = Decimal("0.5") if start.hour >= 20 or start.hour < 6 else Decimal("0.0")
        paid_by = random_.choices([1, 2, 3, 4], [72, 26, 1, 1])[0]
        tip = (
            (fare * Decimal(random_.choice([0, 15, 20, 25])) / 100).quantize(Decimal("0.01"))
            if paid_by == 1
            else Decimal("0.0")
        )
        surcharge = random_.choice(["", "0.0", "2.5"])
        total = fare + extra + Decimal("0.8") + tip + Decimal(surcharge or 0)
        lines.append(
            [
                str(random_.choice([1, 2, 2])),
                f"{start:%Y-%m-%d %H:%M:%S}",
                f"{start + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}",
                str(random_.choices([1, 2, 3, 4, 5, 6], [72, 15, 4, 2, 4, 3])[0]),
                str(distance),
                str(random_.choices([1, 2, 5], [97, 2, 1])[0]),
                random_.choices("NY", [99, 1])[0],
                *(str(random_.randint(1, 263)) for _ in range(2)),
                *map(str, (paid_by, fare, extra, "0.5", tip, "0.0", "0.3", total, surcharge)),
            ]
        )
    lines.sort(key=lambda line: line[1])
    for at in random_.sample(range(rows), 25):  # delivered twice, the second time with a corrected tip
        again = list(lines[at])
        again[13] = "1.00"
        lines.append(again)
    wrong = iter(random_.sample(range(rows), 12))
    lines[next(wrong)][2] = ""
    lines[next(wrong)][3] = "two"
    lines[next(wrong)][9] = "9"
    lines[next(wrong)][10] = "7,50"
    lines[next(wrong)][1] = f"{day:%d/%m/%Y} 10:00"
    lines[next(wrong)][4] = "1e"
    lines[next(wrong)][6] = "?"
    short, long = next(wrong), next(wrong)
    lines[short] = lines[short][:7]
    lines[long] = [*lines[long], "0.0"]
    return "\r\n".join([TRIP_COLUMNS, *(",".join(line) for line in lines)])


def orders(day: date, rows: int) -> str:
    """A day of a shop's orders, as a spreadsheet of central Europe writes them."""
    random_ = random.Random(f"orders {day}")  # noqa: S311 - the same files every time
    first = (day - date(2026, 1, 1)).days * 1000 + 1
    notes = ["", "", "", "bitte klingeln", 'Etage "3 links"', "nach 17 Uhr;\nbeim Nachbarn", "Geschenk"]
    lines = ["Bestellnummer;Kunde;Artikel;Menge;Preis;Bestellt am;Bemerkung"]
    for number in range(first, first + rows):
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=random_.randrange(86_400))
        note = random_.choice(notes)
        price = f"{random_.randint(1, 199)},{random_.choice(['99', '95', '50', '00'])}"
        fields = [
            str(number),
            f"K{random_.randint(1, 300):04}",
            f"A-{random_.randint(1, 60):03}",
            str(random_.randint(1, 9)),
            price,
            f"{moment:%d.%m.%Y %H:%M}",
            f'"{note.replace(chr(34), chr(34) * 2)}"' if set(note) & set('";\n') else note,
        ]
        lines.append(";".join(fields))
    lines.insert(40, lines[12])
    lines.insert(60, lines[30].replace(";K", ";X", 1))
    lines[70] = lines[70].replace(",", ".", 1).replace("A-", "B-")
    lines.append(f"{first + rows};K0001;A-001;0;9,99;31.02.2026 10:00;")
    lines.append(f"{first + rows + 1};K0001;A-001")
    return "\n".join(lines) + "\n"


def orders_placed(day: date, count: int) -> str:
    """A day of a shop's orders as events, one a line, as its web service sends them."""
    random_ = random.Random("orders placed")  # noqa: S311 - the same files every time
    lines = []
    for number in range(1, count + 1):
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=86_399 * number // count)
        order: dict[str, object] = {
            "order_id": number,
            "customer_id": f"K{random_.randint(1, 300):04}",
            "placed_at": moment.isoformat().replace("+00:00", "Z"),
            "amount": f"{random_.randint(100, 19_999) / 100:.2f}",
            "channel": random_.choice(["web", "web", "shop", "phone"]),
        }
        if random_.random() < 0.1:
            order["currency"] = random_.choice(["GBP", "USD"])
        lines.append(json.dumps(order))
    lines.insert(40, lines[12].replace('"web"', '"phone"'))  # sent twice, the second time corrected
    lines[70] = lines[70].replace('"customer_id": "K', '"customer_id": "X')
    lines[80] = lines[80].replace('"amount": "', '"amount": "-')
    lines[90] = lines[90][:30]
    return "\n".join(lines) + "\n"


def customers(count: int) -> str:
    """The shop's customers, as its web service exports them."""
    random_ = random.Random("customers")  # noqa: S311 - the same files every time
    given = ["Ann", "Béla", "Çem", "Dörte", "Eva", "Finn", "Grażyna", "Håkon", "Íris", "José"]
    family = ["Abel", "Brandt", "Costa", "Dvořák", "Eriksen", "Fuchs", "Gönül", "Horváth"]
    lines = []
    for number in range(1, count + 1):
        name = f"{random_.choice(given)} {random_.choice(family)}"
        since = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=random_.randrange(6 * 365 * 86_400))
        customer: dict[str, object] = {
            "id": f"K{number:04}",
            "name": name,
            "email": f"{number}@example.org",
            "since": since.isoformat().replace("+00:00", "Z"),
            "newsletter": random_.random() < 0.4,
            "credit": round(random_.uniform(0, 500), 2),
            "address": {"city": random_.choice(["Wien", "Brno", "Graz"]), "zip": f"{random_.randint(1000, 9999)}"},
        }
        if random_.random() < 0.1:
            customer.pop("address")
        lines.append(json.dumps(customer, ensure_ascii=False))
    lines[17] = lines[17].replace('"id": "K0018"', '"id": null')
    lines[55] = lines[55][:40]
    lines[90] = lines[90].replace('"credit": ', '"credit": "none", "was": ')
    lines.append(lines[3].replace('"newsletter": false', '"newsletter": true'))
    return "\n".join(lines) + "\n"


def products(count: int) -> pa.Table:
    """The shop's products, as its warehouse exports them."""
    random_ = random.Random("products")  # noqa: S311 - the same files every time
    words = ["Lampe", "Stuhl", "Tisch", "Regal", "Teppich", "Spiegel"]
    prices = [Decimal(random_.randint(100, 19999)) / 100 for _ in range(count)]
    prices[7] = Decimal("-1.00")
    return pa.table(
        {
            "sku": [f"A-{number:03}" for number in range(1, count + 1)],
            "title": [f"{random_.choice(words)} {number}" for number in range(1, count + 1)],
            "price": pa.array(prices, pa.decimal128(8, 2)),
            "stock": pa.array([random_.randint(0, 500) for _ in range(count)], pa.int32()),
            "updated": pa.array(
                [datetime(2026, 1, 10, number % 24, tzinfo=UTC) for number in range(count)], pa.timestamp("ms", "UTC")
            ),
            "tags": pa.array(
                [random_.sample(["neu", "holz", "metall", "sale"], random_.randint(0, 3)) for _ in range(count)]
            ),
        }
    )


def main() -> None:
    for folder in ("trips", "shop"):
        (HERE / folder).mkdir(exist_ok=True)
    for offset, rows in enumerate((1200, 1500, 900)):
        day = date(2019, 1, 14) + timedelta(days=offset)
        (HERE / f"trips/{day}.csv").write_bytes(trips(day, rows).encode())
    for offset in range(3):
        day = date(2026, 1, 13) + timedelta(days=offset)
        (HERE / f"shop/orders-{day:%Y%m%d}.csv").write_bytes(orders(day, 200).encode("cp1252"))
    (HERE / "shop/orders-placed.jsonl").write_text(orders_placed(date(2026, 1, 15), 500))
    (HERE / "shop/customers.jsonl.gz").write_bytes(gzip.compress(customers(300).encode(), mtime=0))
    pq.write_table(products(60), HERE / "shop/products.parquet")


if __name__ == "__main__":
    main()
