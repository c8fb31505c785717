-- Messages on their way to the bus.

-- name: add
-- By arrays, numbered in their order. With a job ($11, $12: its id and fence) only while that is held: the lock lasts
-- until the commit, as that of `guard` does.
with held as materialized (
    select 1 from millrace.jobs where id = $11 and fence = $12 and state = 'running' for share
),
added as (
    insert into millrace.outbox (
        shard, id, address, key, headers, body, correlation_id, priority, published_at, not_before
    )
    select
        e.shard, e.id, e.address, e.key, coalesce(e.headers, '{}'), e.body, e.correlation_id, e.priority,
        e.published_at, e.not_before
    from unnest(
        $1::text::int[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::text[], $6::bytea[],
        $7::text::text[], $8::text::int[], $9::timestamptz[], $10::timestamptz[]
    ) with ordinality as e(
        shard, id, address, key, headers, body, correlation_id, priority, published_at, not_before, place
    )
    where $11::text is null or exists (select from held)
    order by e.place
    on conflict (id) do nothing
    returning 1
)
select
    $11::text is null or exists (select from held) as held,
    (select pg_notify($13, '') from added limit 1) as woken

-- name: waiting
-- The first number that waits in each shard ($1), looked for from the floors ($2) on, and how long that took here.
with first as materialized (
    select s.shard, o.number
    from unnest($1::text::int[], $2::text::bigint[]) as s(shard, floor)
    cross join lateral (
        select o.number from millrace.outbox o where o.shard = s.shard and o.number >= s.floor order by o.number limit 1
    ) o
)
select
    array_agg(shard) as shards,
    array_agg(number) as numbers,
    extract(epoch from clock_timestamp() - statement_timestamp())::float8 as took_s
from first

-- name: lock
-- A statement of its own: what is read under the lock must be read after it was got.
select
    pg_try_advisory_xact_lock($1, $2) as locked,
    set_config('idle_in_transaction_session_timeout', $3, true) as bounded

-- name: read
-- In order, until $3 messages or $4 bytes of bodies; one at least.
select number, id, address, key, headers, body, correlation_id, priority, published_at, not_before
from (
    select o.*, sum(octet_length(o.body)) over (order by o.number) - octet_length(o.body) as bytes_before
    from (
        select * from millrace.outbox where shard = $1 and number >= $2 order by number limit $3
    ) o
) o
where bytes_before < $4
order by number

-- name: forget
delete from millrace.outbox where shard = $1 and number = any($2::text::bigint[])

-- name: backlog
select count(*) from millrace.outbox
