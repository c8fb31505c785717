-- Jobs for people and the API.

-- name: get
select
    id, address, state, priority, attempt + (state = 'running')::int as attempt, claims, recorded_at, not_before,
    correlation_id, unique_key, worker_id, started_at, finished_at, cancel_requested_at, progress::text,
    checkpoint::text, result::text, error, traceback, body
from millrace.jobs
where id = $1

-- name: list
select
    id, address, state, priority, attempt + (state = 'running')::int as attempt, claims, recorded_at, not_before,
    correlation_id, unique_key, worker_id, started_at, finished_at, cancel_requested_at, progress::text,
    checkpoint::text, result::text, error, traceback, body
from millrace.jobs
where ($1::text[] is null or state = any ($1))
    and ($2::text is null or address = $2)
    and ($3::text is null or correlation_id = $3)
    and (recorded_at, id) < (coalesce($4::timestamptz, 'infinity'), coalesce($5::text, ''))
order by recorded_at desc, id desc
limit $6

-- name: counts
select address, state, count(*) as jobs from millrace.jobs group by address, state

-- name: cancel
with seen as materialized (
    select id, state from millrace.jobs where id = $1 for no key update
),
asked as (
    update millrace.jobs j
    set
        state = case when s.state = 'queued' then 'cancelled' else s.state end,
        cancel_requested_at = coalesce(j.cancel_requested_at, now()),
        finished_at = case when s.state = 'queued' then now() end
    from seen s
    where j.id = s.id and s.state in ('queued', 'running')
    returning j.state
)
select
    s.state as was,
    coalesce((select state from asked), s.state) as state,
    (select pg_notify($2, '') from asked where state = 'running') as woken
from seen s

-- name: retry
with seen as materialized (
    select id, state from millrace.jobs where id = $1 for no key update
),
again as (
    update millrace.jobs j
    set
        state = 'queued', attempt = 0, crashes = 0, not_before = now(),
        rank = now() - j.priority * interval '60 seconds',
        worker_id = null, started_at = null, finished_at = null, cancel_requested_at = null,
        error = null, traceback = null, result = null
    from seen s
    where j.id = s.id and s.state in ('failed', 'cancelled')
    returning j.id
)
select s.state as was, (select pg_notify($2, '') from again) as woken
from seen s

-- name: rival
-- The active job with the same unique key.
select a.id
from millrace.jobs j
join millrace.jobs a on a.unique_key = j.unique_key and a.state in ('queued', 'running')
where j.id = $1 and a.id <> $1
limit 1

-- name: prune
-- By recorded_at, which never lies after finished_at, so that the index on it finds the oldest.
with old as materialized (
    select id
    from millrace.jobs
    where recorded_at < now() - $1::interval and finished_at < now() - $1::interval
        and state not in ('queued', 'running')
    order by recorded_at
    limit $2
    for update skip locked
),
gone as (
    delete from millrace.jobs j using old o where j.id = o.id returning 1
)
select count(*)::int from gone
