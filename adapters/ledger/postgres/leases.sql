-- Workers and their leases, timed by the database's clock.

-- name: join
insert into millrace.workers (id, host, pid, modules, http, lease_until, version, schema, contracts)
values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6), $7, $8, $9::text::jsonb)
on conflict (id) do update set lease_until = excluded.lease_until

-- name: renew
-- Only a reaper ends a lease that ran out: until then its worker may still renew it.
update millrace.workers set lease_until = clock_timestamp() + make_interval(secs => $2) where id = $1 returning id

-- name: leave_lock
-- Waits for claims under way (they hold a key share lock), so that the next statement sees what they took.
select id from millrace.workers where id = $1 for update

-- name: leave
with back as (
    update millrace.jobs j
    set
        state = case when j.cancel_requested_at is null then 'queued' else 'cancelled' end,
        finished_at = case when j.cancel_requested_at is not null then now() end,
        worker_id = case when j.cancel_requested_at is not null then j.worker_id end
    where j.worker_id = $1 and j.finished_at is null
    returning j.id, j.state
),
gone as (
    delete from millrace.workers where id = $1
)
select (select pg_notify($2, '') from back limit 1) as woken

-- name: reap
-- The running jobs of workers whose lease ran out, and of those that are not there any more (a row that was locked at
-- an earlier reaping). Whoever else reaps at the same time passes by what is locked here.
with expired as materialized (
    select id from millrace.workers where lease_until <= clock_timestamp() for update skip locked
),
gone as (
    delete from millrace.workers w using expired e where w.id = e.id
),
lost as materialized (
    select j.id
    from millrace.jobs j
    where j.worker_id is not null and j.finished_at is null and (
        j.worker_id in (select id from expired)
        or not exists (select from millrace.workers w where w.id = j.worker_id)
    )
    for no key update of j skip locked
),
reaped as (
    update millrace.jobs j
    set
        state = case
            when j.cancel_requested_at is not null then 'cancelled'
            when j.crashes + 1 >= $1 then 'failed'
            else 'queued'
        end,
        crashes = j.crashes + 1,
        worker_id = case when j.cancel_requested_at is not null or j.crashes + 1 >= $1 then j.worker_id end,
        finished_at = case when j.cancel_requested_at is not null or j.crashes + 1 >= $1 then now() end,
        error = case
            when j.cancel_requested_at is null and j.crashes + 1 >= $1
                then 'poison: its worker died ' || $1 || ' times while running it'
            else j.error
        end
    from lost l
    where j.id = l.id
    returning j.id
)
select
    array(select id from reaped) as reaped,
    (select pg_notify($2, '') from reaped limit 1) as woken

-- name: end_standing
-- The sessions whose transaction has lost its fence and has waited for its client for $1 seconds: they share a lock by
-- which they tell what they work on (its hash), and under which fence. Only those of our own role are seen.
with standing as materialized (
    select l.pid, l.classid::bigint as hash, l.objid::bigint as fence
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.objsubid = 2 and l.mode = 'ShareLock' and l.granted
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and a.wait_event_type = 'Client' and a.wait_event = 'ClientRead'
        and a.state_change <= clock_timestamp() - make_interval(secs => $1)
)
select pg_terminate_backend(standing.pid)
from standing
where exists (
    select from millrace.partitions p
    where hashtext(concat_ws(' ', 'partition', p.group_name, p.address, p.index))::bigint & 4294967295 = standing.hash
        and p.epoch & 2147483647 <> standing.fence
) or exists (
    select from millrace.jobs j
    where j.worker_id is not null and j.finished_at is null
        and hashtext(concat_ws(' ', 'job', j.id))::bigint & 4294967295 = standing.hash
        and j.fence & 2147483647 <> standing.fence
)

-- name: workers
select
    w.id, w.host, w.pid, w.modules, w.http, w.version, w.schema, w.contracts::text, w.started_at, w.lease_until,
    (select count(*) from millrace.jobs j where j.worker_id = w.id and j.finished_at is null)::int as running
from millrace.workers w
where w.lease_until > now()
order by w.started_at, w.id
