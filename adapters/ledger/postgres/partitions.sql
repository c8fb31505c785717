-- Positions of streams. A partition is named by group, address and index ($1, $2, $3); a hold adds its epoch ($4).
--
-- A transaction of a hold locks its partition's row `for key share`, as its last statement: any number of them do that
-- at once, and a report does not wait for them. Raising the epoch does not wait for them either, and from then on no
-- other one gets through (a row that has changed meanwhile is looked at again). `for update` then waits for those that
-- were through already: they are few, and no new ones come, so it is not starved by a holder that goes on.

-- name: finish
-- The guard of a transaction for the spans from $5 to $6, and the ids $7 for $8 seconds. No row: roll back.
select 1
where millrace.finish($1, $2, $3, $4, $5::text::numeric[], $6::text::numeric[], $7::text::text[], $8)

-- name: raise_epoch
-- $4 is the incarnation; $5 says whether another one than the stored position's is refused: then there is no row.
insert into millrace.partitions as p (group_name, address, index, incarnation)
values ($1, $2, $3, $4)
on conflict (group_name, address, index) do update set epoch = p.epoch + 1
where p.incarnation is null or p.incarnation = $4 or p.position is null or not $5
returning epoch

-- name: berth_lock
-- Whoever looks for a place at the same time waits, and sees what was taken before.
select pg_advisory_xact_lock(hashtextextended(concat_ws(' ', $1::text, $2::text, $3::int), 0))

-- name: berth
-- Of a bus that no two processes share, the row (its index) for $4, the incarnation of this process's: its own, or the
-- first that no other living worker has, else one more, $5 indexes on.
with these as (
    select p.index, p.incarnation, w.id is not null as held
    from millrace.partitions p
    left join millrace.workers w on w.id = p.worker_id and w.lease_until > clock_timestamp()
    where p.group_name = $1 and p.address = $2 and p.index >= $3 and (p.index - $3) % $5 = 0
)
select coalesce(
    (select index from these where incarnation = $4 or not held order by incarnation is distinct from $4, index limit 1),
    (select max(index) + $5 from these),
    $3
)::int

-- name: orphans
-- The rows of processes that are gone, and of another process that has messages of the same partition ($1 indexes apart).
select p.id, heir.id as heir_id
from millrace.partitions p
join lateral (
    select h.id
    from millrace.partitions h
    join millrace.workers w on w.id = h.worker_id and w.lease_until > clock_timestamp()
    where h.group_name = p.group_name and h.address = p.address and h.id <> p.id and (h.index - p.index) % $1 = 0
    order by h.index
    limit 1
) heir on true
where not exists (select from millrace.workers w where w.id = p.worker_id and w.lease_until > clock_timestamp())

-- name: adopt_heads
update millrace.parked set partition_id = $2 where partition_id = $1 and head

-- name: adopt_followers
update millrace.parked set partition_id = $2 where partition_id = $1 and lane is not null

-- name: lock
select id, epoch, incarnation, position::text, worker_id
from millrace.partitions
where group_name = $1 and address = $2 and index = $3
for update

-- name: end_stalled
-- A row lock here means that nothing but a commit is missing; one that waits for its client for $1 seconds has a process
-- that was stopped, or is out of reach (between two messages of one statement it counts as active). Its session is ended,
-- which rolls it back; only those of our own role are seen.
select pg_terminate_backend(a.pid)
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation' and l.relation = 'millrace.partitions'::regclass and l.mode = 'RowShareLock' and l.granted
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and a.wait_event_type = 'Client' and a.wait_event = 'ClientRead'
    and a.state_change <= clock_timestamp() - make_interval(secs => $1)

-- name: spans
select first::text, past::text from millrace.finished where partition_id = $1

-- name: clear_spans
delete from millrace.finished where partition_id = $1

-- name: put_spans
insert into millrace.finished (partition_id, first, past)
select $1, s.first, s.past from unnest($2::text::numeric[], $3::text::numeric[]) as s(first, past)

-- name: clear_charges
delete from millrace.charges where partition_id = $1

-- name: clear_state
delete from millrace.states where partition_id = $1

-- name: begin_anew
update millrace.partitions set position = null, reach = null, suspects_below = null where id = $1

-- name: take
-- Who takes what is their own already knows no more of what may have killed another.
update millrace.partitions p
set
    worker_id = $3, taken_at = now(), reported_at = null, incarnation = $4, lag = 0, open = 0,
    suspects_below = case
        when p.worker_id is null then null
        when p.worker_id = $3 then p.suspects_below
        else greatest(p.reach, p.suspects_below)
    end,
    suspect_epoch = case when p.worker_id is null or p.worker_id = $3 then p.suspect_epoch else $2 end
where p.id = $1 and p.epoch = $2
returning suspects_below::text

-- name: stored
select incarnation, position::text
from millrace.partitions
where group_name = $1 and address = $2 and index = $3

-- name: report
-- The reports of many partitions, by arrays. What is lost of them in a crash of the server is only that the last half
-- second's rows of finished positions are there again, and a reach that is a little too low: so no commit waits for the
-- disk here. The number of each report that was kept.
with said as (
    select *
    from unnest(
        $1::text::text[], $2::text::text[], $3::text::int[], $4::text::bigint[], $5::text::numeric[],
        $6::text::numeric[], $7::text::bigint[], $8::text::bigint[], $9::text::numeric[]
    ) with ordinality as s(group_name, address, index, epoch, position, reach, lag, open, needless_below, number)
),
kept as (
    update millrace.partitions p
    set
        position = greatest(p.position, s.position), reach = greatest(p.reach, s.reach), lag = s.lag, open = s.open,
        reported_at = now()
    from said s
    where p.group_name = s.group_name and p.address = s.address and p.index = s.index and p.epoch = s.epoch
    returning p.id, s.number, greatest(p.position, s.needless_below) as below
),
passed as (
    delete from millrace.finished f using kept k where f.partition_id = k.id and f.past <= k.below
),
acquitted as (
    delete from millrace.charges c using kept k where c.partition_id = k.id and c.position < k.below
)
select number::int, set_config('synchronous_commit', 'off', true) from kept

-- name: leave
update millrace.partitions
set
    worker_id = null, suspects_below = null, reported_at = now(), lag = 0, open = 0,
    position = greatest(position, $2::text::numeric)
where id = $1
returning position::text

-- name: known
-- Those of the positions ($4) and ids ($5) that were finished before. $1 to $3 name the partition.
select
    array(
        select n.position::text
        from unnest($4::text::numeric[]) as n(position)
        join millrace.partitions p on p.group_name = $1 and p.address = $2 and p.index = $3
        where n.position < p.position or (
            select f.first
            from millrace.finished f
            where f.partition_id = p.id and f.past > n.position
            order by f.past
            limit 1
        ) <= n.position
    ) as positions,
    array(
        select s.id
        from unnest($5::text[]) as i(id)
        join millrace.seen s on s.group_name = $1 and s.address = $2 and s.id = i.id
        where s.until > statement_timestamp()
    ) as ids

-- name: charge
with held as materialized (
    select p.id
    from millrace.partitions p
    where p.group_name = $1 and p.address = $2 and p.index = $3 and p.epoch = $4
    for key share
),
charged as (
    insert into millrace.charges (partition_id, position, epoch)
    select id, $5::text::numeric, $4 from held
    on conflict do nothing
)
select 1 + count(c.epoch)::int as times
from held h
left join millrace.charges c on c.partition_id = h.id and c.position = $5::text::numeric and c.epoch <> $4
group by h.id

-- name: acquit
delete from millrace.charges c
using millrace.partitions p
where p.group_name = $1 and p.address = $2 and p.index = $3
    and c.partition_id = p.id and c.position = $5::text::numeric and c.epoch = $4

-- name: holdings
select
    p.group_name, p.address, p.index, p.epoch, p.worker_id, p.taken_at, p.reported_at, p.position::text, p.lag, p.open,
    (select count(*) from millrace.parked k where k.partition_id = p.id) as parked
from millrace.partitions p
order by p.group_name, p.address, p.index

-- name: raise_all
-- Those of a group and address ($1, $2) that no living worker holds, unless one of them is held.
update millrace.partitions p
set epoch = p.epoch + 1
where p.group_name = $1 and p.address = $2 and not exists (
    select from millrace.partitions h
    join millrace.workers w on w.id = h.worker_id and w.lease_until > clock_timestamp()
    where h.group_name = $1 and h.address = $2
)

-- name: lock_all
select id
from millrace.partitions
where group_name = $1 and address = $2
order by index
for update

-- name: living_holders
select p.index, p.worker_id
from millrace.partitions p
join millrace.workers w on w.id = p.worker_id and w.lease_until > clock_timestamp()
where p.group_name = $1 and p.address = $2
order by p.index

-- name: reset
with these as (
    update millrace.partitions
    set
        epoch = epoch + 1, position = $2::text::numeric, incarnation = null, reach = null, suspects_below = null,
        worker_id = null, lag = 0, open = 0
    where id = any ($1::bigint[])
    returning id
),
cleared as (
    delete from millrace.finished f using these t where f.partition_id = t.id
),
acquitted as (
    delete from millrace.charges c using these t where c.partition_id = t.id
),
forgotten as (
    delete from millrace.states s using these t where s.partition_id = t.id
)
select count(*)::int from these

-- name: prune
with old as materialized (
    select group_name, address, id
    from millrace.seen
    where until <= now()
    order by until
    limit $1
    for update skip locked
),
gone as (
    delete from millrace.seen s using old o
    where s.group_name = o.group_name and s.address = o.address and s.id = o.id
    returning 1
)
select count(*)::int from gone
