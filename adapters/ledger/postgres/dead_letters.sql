-- What could not be handled.

-- name: bury
insert into millrace.dead_letters (
    address, id, reason, body, error, traceback, key, headers, origin, correlation_id, buried_at
)
select d.address, d.id, d.reason, d.body, d.error, d.traceback, d.key, d.headers::jsonb, d.origin, d.correlation_id,
    coalesce(d.buried_at, now())
from unnest(
    $1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::timestamptz[]
) as d(address, id, reason, body, error, traceback, key, headers, origin, correlation_id, buried_at)
order by d.address, d.id
on conflict do nothing

-- name: list
select
    id, address, reason, body, error, traceback, key, headers::text, origin, correlation_id, buried_at
from millrace.dead_letters
where $1::text is null or address = $1
order by buried_at desc, address, id
limit $2

-- name: prune
with old as materialized (
    select address, id
    from millrace.dead_letters
    where buried_at < now() - $1::interval
    order by buried_at
    limit $2
    for update skip locked
),
gone as (
    delete from millrace.dead_letters d using old o where d.address = o.address and d.id = o.id returning 1
)
select count(*)::int from gone
