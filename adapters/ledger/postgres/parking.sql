-- Messages that wait. A hold is named by group, address, index and epoch ($1 to $4), and its row is locked `for key
-- share` as in `partitions.sql`.

-- name: lock_lanes
-- Of partitions by their ids ($1). They are locked in one order, so that two can't wait for each other.
select millrace.lock_lane(l.partition_id, l.lane)
from (
    select distinct u.partition_id, u.lane
    from unnest($1::bigint[], $2::text::text[]) as u(partition_id, lane)
    where u.lane is not null
    order by 1, 2
) l

-- name: hold
-- The partition's id; no row: the epoch has moved on.
select p.id
from millrace.partitions p
where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
for key share

-- name: park
-- By arrays, in order; their lanes are locked. The first of a lane in which nothing waits is its head.
insert into millrace.parked (
    partition_id, epoch, position, lane, lane_whole, head, due_at, attempt, error, envelope
)
select
    m.partition_id, (select p.epoch from millrace.partitions p where p.id = m.partition_id), m.position, m.lane, m.lane_whole,
    m.lane is null or (
        row_number() over (partition by m.partition_id, m.lane order by m.number) = 1
        and not exists (
            select from millrace.parked k where k.partition_id = m.partition_id and k.lane = m.lane offset 0
        )
    ),
    coalesce(m.due_at, now() + make_interval(secs => m.after_s)),
    m.attempt, m.error, m.envelope
from unnest(
    $1::bigint[], $2::text::numeric[], $3::text::text[], $4::bytea[], $5::timestamptz[], $6::text::float8[],
    $7::text::int[], $8::text::text[], $9::bytea[]
) with ordinality as m(
    partition_id, position, lane, lane_whole, due_at, after_s, attempt, error, envelope, number
)
order by m.number

-- name: lanes
-- A row for each lane in which something waits, and one without, so that there is no row only where the hold is over.
select k.lane, k.lane_whole
from millrace.partitions p
left join millrace.parked k on k.partition_id = p.id and k.head and k.lane is not null
where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4

-- name: lanes_among
-- The same of some lanes ($5).
with held as (
    select p.id
    from millrace.partitions p
    where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
)
select k.lane, k.lane_whole
from held h
left join (
    select w.id, f.lane, f.lane_whole
    from held w
    cross join unnest($5::text[]) as a(lane)
    cross join lateral (
        select p.lane, p.lane_whole
        from millrace.parked p
        where p.partition_id = w.id and p.lane = a.lane
        order by p.number
        limit 1
    ) f
) k on k.id = h.id

-- name: due
-- By arrays of holds; the number of each row's hold among them.
select
    s.number as nth, k.number, k.position::text, k.lane, k.lane_whole, k.attempt, k.error, k.envelope,
    k.epoch < p.suspect_epoch as suspect
from unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) with ordinality
    as s(group_name, address, index, epoch, number)
join millrace.partitions p
    on p.group_name = s.group_name and p.address = s.address and p.index = s.index and p.epoch = s.epoch
cross join lateral (
    select d.*
    from millrace.parked d
    where d.partition_id = p.id and d.head and d.due_at <= now()
    order by d.due_at, d.number
    limit $5
) k
order by k.due_at, k.number
limit $5

-- name: next_due
select extract(epoch from min(k.due_at) - now())::float8
from unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) as s(group_name, address, index, epoch)
join millrace.partitions p
    on p.group_name = s.group_name and p.address = s.address and p.index = s.index and p.epoch = s.epoch
cross join lateral (
    select d.due_at from millrace.parked d where d.partition_id = p.id and d.head order by d.due_at, d.number limit 1
) k

-- name: postpone
with held as materialized (
    select p.id
    from millrace.partitions p
    where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
    for key share
),
later as (
    update millrace.parked k
    set
        attempt = $6, due_at = now() + make_interval(secs => $7), error = $8,
        epoch = $4, charged = array_remove(k.charged, $4)
    from held h
    where k.number = $5 and k.partition_id = h.id
)
select 1 from held

-- name: charge
with held as materialized (
    select p.id
    from millrace.partitions p
    where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
    for key share
)
update millrace.parked k
set charged = array_append(array_remove(k.charged, $4), $4)
from held h
where k.number = $5 and k.partition_id = h.id
returning cardinality(k.charged) as charges

-- name: acquit
update millrace.parked k
set charged = array_remove(k.charged, $4)
from millrace.partitions p
where p.group_name = $1 and p.address = $2 and p.index = $3
    and k.number = $5 and k.partition_id = p.id

-- name: remove
-- The guard of a parked message's transaction: its number is $5, its lane $6, the ids to be seen $7 for $8 seconds. No
-- row: roll back.
select 1 where millrace.unpark($1, $2, $3, $4, $5, $6, $7::text::text[], $8)

-- name: remove_if_there
-- Null: the epoch has moved on.
select millrace.unpark($1, $2, $3, $4, $5, $6, '{}', 0) as removed
