-- Messages on their way to the bus.

-- name: add
-- By arrays, numbered in their order. With a job ($6, $7: its id and fence) only while that is held: the lock lasts until
-- the commit, as that of `guard` does.
with held as materialized (
    select 1 from millrace.jobs where id = $6 and fence = $7 and state = 'running' for share
),
added as (
    insert into millrace.outbox (shard, id, address, key, envelope)
    select e.shard, e.id, e.address, e.key, e.envelope
    from unnest($1::text::int[], $2::text::text[], $3::text::text[], $4::text::text[], $5::bytea[])
        with ordinality as e(shard, id, address, key, envelope, place)
    where $6::text is null or exists (select from held)
    order by e.place
    on conflict (id) do nothing
    returning 1
)
select
    $6::text is null or exists (select from held) as held,
    (select pg_notify($8, '') from added where $8::text is not null limit 1) as woken

-- name: waiting
-- The first and the last number that wait in each shard ($1), as of one moment.
select array_agg(s.shard) as shards, array_agg(f.number) as firsts, array_agg(l.number) as lasts
from unnest($1::text::int[]) as s(shard)
cross join lateral (
    select o.number from millrace.outbox o where o.shard = s.shard order by o.number limit 1
) f
cross join lateral (
    select o.number from millrace.outbox o where o.shard = s.shard order by o.number desc limit 1
) l

-- name: lock
-- A statement of its own: what is read under the lock must be read after it was got.
select
    pg_try_advisory_xact_lock($1, $2) as locked,
    set_config('idle_in_transaction_session_timeout', $3, true) as bounded

-- name: read
-- From number $2 to $3, in order, until $4 messages or $5 bytes of them; one at least.
select number, envelope
from (
    select number, envelope, sum(octet_length(envelope)) over (order by number) - octet_length(envelope) as bytes_before
    from (
        select number, envelope
        from millrace.outbox
        where shard = $1 and number between $2 and $3
        order by number limit $4
    ) o
) o
where bytes_before < $5
order by number

-- name: forget
delete from millrace.outbox where shard = $1 and number = any($2::text::bigint[])

-- name: backlog
select count(*) from millrace.outbox
