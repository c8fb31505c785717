"""The tables that suites are measured on: a million orders of 200,000 customers, always the same.

One e-mail in a thousand is missing and twenty orders have no customer: the checks count them and let them pass, since
what a failing check shows is not measured.
"""

from __future__ import annotations

TABLES = """
create table public.customers (customer_id bigint primary key, name text not null);
insert into public.customers select n, 'customer ' || n from generate_series(1, {customers}) n;
create table public.orders (
    order_id bigint primary key, customer_id bigint, email text, sku text, status text, amount numeric(12, 2),
    ordered_at timestamptz
);
insert into public.orders
select n, case when n % ({orders} / 20) = 0 then {customers} + n else 1 + n * 7919::bigint % {customers} end,
    case when n % 1000 <> 0 then 'user' || n % 50021 || '@example.org' end, 'SKU-' || lpad((n % 99991)::text, 6, '0'),
    (array['new', 'paid', 'sent', 'done', 'returned'])[1 + n % 5], (n % 100000) / 100.0,
    timestamptz '2026-01-01' + n * interval '1 second'
from generate_series(1, {orders}) n;
"""

SUITE = r"""name: orders
tables:
  - source: orders
    checks:
      - {check: row_count, fail: when < 1}
      - {check: nulls, column: email, fail: when > 1%}
      - {check: unique, columns: [order_id]}
      - {check: references, columns: [customer_id], to: customers, fail: when > 1%}
      - {check: pattern, column: sku, pattern: 'SKU-[0-9]{6}'}
      - {check: values, column: status, values: [new, paid, sent, done, returned]}
      - {check: range, column: amount, min: 0, max: 1000}
      - {check: freshness, column: ordered_at, fail: when > 36500d}
"""


def made(orders: int) -> str:
    """The statements that make and fill them."""
    return TABLES.format(orders=orders, customers=orders // 5)
