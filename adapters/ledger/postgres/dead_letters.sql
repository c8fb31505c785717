-- What could not be handled. A letter is named by address, group and id.

-- name: bury
-- One that comes back replaces what is there. Each has an instant of its own, so that pages have an order.
insert into millrace.dead_letters as l (
    address, group_name, id, reason, body, error, traceback, key, headers, origin, partition, position, attempts,
    replays, correlation_id, buried_at
)
select
    d.address, d.group_name, d.id, d.reason, d.body, d.error, d.traceback, d.key, d.headers::jsonb, d.origin,
    d.partition, d.position, d.attempts, d.replays, d.correlation_id, coalesce(d.buried_at, clock_timestamp())
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::int[], $12::text::numeric[], $13::int[], $14::int[], $15::text[], $16::timestamptz[]
) as d(
    address, group_name, id, reason, body, error, traceback, key, headers, origin, partition, position, attempts,
    replays, correlation_id, buried_at
)
order by d.address, d.group_name, d.id
on conflict (address, group_name, id) do update set
    reason = excluded.reason, body = excluded.body, error = excluded.error, traceback = excluded.traceback,
    key = excluded.key, headers = excluded.headers, origin = excluded.origin, partition = excluded.partition,
    position = excluded.position, attempts = excluded.attempts, replays = excluded.replays,
    correlation_id = excluded.correlation_id, buried_at = excluded.buried_at

-- name: list
select
    id, address, group_name as group, reason, body, error, traceback, key, headers::text, origin, partition,
    position::text, attempts, replays, correlation_id, buried_at
from millrace.dead_letters
where ($1::text[] is null or id = any ($1))
    and ($2::text is null or address = $2)
    and ($3::text is null or group_name = $3)
    and ($4::text is null or reason = $4)
    and ($5::timestamptz is null or buried_at >= $5)
    and ($6::timestamptz is null or buried_at < $6)
    and ($7::text is null or headers @> $7::text::jsonb)
    and ($8::timestamptz is null or (buried_at, id) < ($8, $9::text))
order by buried_at desc, id desc
limit $10

-- name: edit
update millrace.dead_letters
set body = $4, key = $5, headers = $6::text::jsonb
where address = $1 and group_name = $2 and id = $3
returning 1

-- name: lock
-- Those that are there, in one order, so that two that replay the same can't wait for each other.
select
    d.id, d.address, d.group_name as group, d.reason, d.body, d.key, d.headers::text, d.partition, d.position::text,
    d.replays, d.correlation_id
from unnest($1::text[], $2::text[], $3::text[]) as n(address, group_name, id)
join millrace.dead_letters d on d.address = n.address and d.group_name = n.group_name and d.id = n.id
order by d.address, d.group_name, d.id
for update of d

-- name: make_partitions
-- Those that nobody has ever taken.
insert into millrace.partitions (group_name, address, index)
select distinct n.group_name, n.address, n.index
from unnest($1::text[], $2::text[], $3::int[]) as n(group_name, address, index)
where not exists (
    select from millrace.partitions p
    where p.group_name = n.group_name and p.address = n.address and p.index = n.index
)
order by 1, 2, 3
on conflict do nothing

-- name: partitions
-- Their ids, in order.
select p.id
from unnest($1::text[], $2::text[], $3::int[]) with ordinality as n(group_name, address, index, number)
join millrace.partitions p on p.group_name = n.group_name and p.address = n.address and p.index = n.index
order by n.number

-- name: told
select pg_notify($1, '')

-- name: drop
with gone as (
    delete from millrace.dead_letters d
    using unnest($1::text[], $2::text[], $3::text[]) as n(address, group_name, id)
    where d.address = n.address and d.group_name = n.group_name and d.id = n.id
    returning 1
)
select count(*)::int from gone

-- name: prune
with old as materialized (
    select address, group_name, id
    from millrace.dead_letters
    where buried_at < now() - $1::interval
    order by buried_at
    limit $2
    for update skip locked
),
gone as (
    delete from millrace.dead_letters d using old o
    where d.address = o.address and d.group_name = o.group_name and d.id = o.id
    returning 1
)
select count(*)::int from gone
