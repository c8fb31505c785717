-- Jobs on their way. Each query is one statement, so that it is one round trip and one commit.
-- An `exists` with `offset 0` is looked up for each row; without, it may be made into a table of all that there are.
-- `now()` is the statement's own instant here, since none runs inside a longer transaction but `checkpoint`.

-- name: record
-- New jobs by arrays, sorted by id so that two recorders of the same ids can't deadlock. Those that may start at once
-- ($13 worker, $14 addresses, $15 free runs) are put down as running: `nth` ($12) counts, by address and best first,
-- those without a unique key. Answers with the ids by what they became; an id that appears nowhere was there before (or,
-- of a unique_skip job, lost its key to a recorder at the same time).
with lease as materialized (
    select id from millrace.workers where id = $13 and lease_until > clock_timestamp() for key share
),
free as materialized (
    select f.address, f.slots, ahead.rank as ahead
    from lease
    cross join unnest($14::text[], $15::int[]) as f(address, slots)
    left join lateral (
        select j.rank
        from millrace.jobs j
        where j.state = 'queued' and j.address = f.address and j.not_before <= now()
            and (j.unique_key is null or not exists (
                select from millrace.jobs r where r.unique_key = j.unique_key and r.state = 'running' offset 0
            ))
        order by j.rank
        limit 1
    ) ahead on true
),
inserted as (
    insert into millrace.jobs (
        id, address, state, priority, rank, recorded_at, not_before, unique_key, unique_skip, claims, fence,
        worker_id, started_at, finished_at, correlation_id, headers, body, error
    )
    select
        p.id, p.address,
        case when p.starts then 'running' when p.active_id is not null then 'skipped' else 'queued' end,
        p.priority, p.rank, now() + p.place * interval '1 microsecond', coalesce(p.not_before, now()),
        p.unique_key, coalesce(p.unique_skip, false), p.starts::int, p.starts::int,
        case when p.starts then $13 end, case when p.starts then now() end,
        case when p.active_id is not null then now() end,
        p.correlation_id, coalesce(p.headers, '{}')::jsonb, p.body,
        'skipped: job ' || p.active_id || ' with the same unique key was active'
    from (
        select
            g.*,
            f.slots is not null and g.nth is not null and g.nth <= f.slots
                and (g.not_before is null or g.not_before <= now())
                and (f.ahead is null or g.rank < f.ahead) as starts
        from (
            select
                u.*,
                case
                    when u.not_before is null
                        then now() + (u.place - u.priority * 60000000::bigint) * interval '1 microsecond'
                    else greatest(now() + u.place * interval '1 microsecond', u.not_before)
                        - u.priority * interval '60 seconds'
                end as rank
            from unnest(
                $1::text::text[], $2::text::int[], $3::text::text[], $4::bytea[], $5::text::text[], $6::text::text[],
                $7::text::int[], $8::timestamptz[], $9::text::text[], $10::text::bool[], $11::text::text[],
                $12::text::int[]
            ) as u(
                id, place, address, body, headers, correlation_id, priority, not_before, unique_key, unique_skip,
                active_id, nth
            )
            offset 0
        ) g
        left join free f on f.address = g.address
        offset 0
    ) p
    on conflict do nothing
    returning id, state
)
select
    now() as recorded_at,
    array(select id from inserted where state = 'running') as running,
    array(select id from inserted where state = 'queued') as queued,
    array(select id from inserted where state = 'skipped') as skipped,
    (select pg_notify($16, '') from inserted where state = 'queued' limit 1) as woken

-- name: blocked
-- Of these ids and keys, those that are new and whose key an active job has (the running one, or the first in line).
select k.id, active.id as active_id
from unnest($1::text[], $2::text[]) as k(id, unique_key)
cross join lateral (
    select j.id
    from millrace.jobs j
    where j.unique_key = k.unique_key and j.state in ('queued', 'running')
    order by j.state desc, j.rank
    limit 1
) active
where not exists (select from millrace.jobs j where j.id = k.id)

-- name: known
select j.id from unnest($1::text[]) as k(id) join millrace.jobs j on j.id = k.id

-- name: claim
-- The best eligible jobs of each address, for a worker whose lease lives. Of one unique key the best alone is taken.
with lease as materialized (
    select id from millrace.workers where id = $1 and lease_until > clock_timestamp() for key share
),
picked as materialized (
    select j.at, j.id, j.unique_key, j.rank
    from lease
    cross join unnest($2::text[], $3::int[]) as f(address, slots)
    cross join lateral (
        select q.ctid as at, q.id, q.unique_key, q.rank
        from millrace.jobs q
        where q.state = 'queued' and q.address = f.address and q.not_before <= now()
            and (q.unique_key is null or ($4 and not exists (
                select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running' offset 0
            )))
        order by q.rank
        limit f.slots
        for no key update skip locked
    ) j
),
chosen as (
    select at from picked where unique_key is null
    union all
    (select distinct on (unique_key) at from picked where unique_key is not null order by unique_key, rank, id)
),
claimed as (
    update millrace.jobs j
    set state = 'running', worker_id = $1, fence = j.fence + 1, claims = j.claims + 1, started_at = now()
    from chosen c
    where j.ctid = c.at
    returning
        j.id, j.address, j.body, j.fence, j.attempt + 1 as attempt, j.claims, j.headers::text, j.correlation_id,
        j.checkpoint::text, j.recorded_at, j.rank
)
select
    id, address, body, fence, attempt, claims, headers, correlation_id, checkpoint, recorded_at, rank,
    (select count(*) from picked) as picked
from claimed
order by rank, id

-- name: claim_only
-- The same among these ids ($5). The state to look for is hidden from the planner, which would read the line for it.
with lease as materialized (
    select id from millrace.workers where id = $1 and lease_until > clock_timestamp() for key share
),
wanted as (
    select o.id, 'queued' as state from lease cross join unnest($5::text[]) as o(id) offset 0
),
eligible as (
    select
        q.id, q.state, q.address, q.rank,
        q.unique_key is null or row_number() over (partition by q.unique_key order by q.rank, q.id) = 1 as first
    from wanted o
    join millrace.jobs q on q.id = o.id and q.state = o.state
    where q.not_before <= now()
        and (q.unique_key is null or ($4 and not exists (
            select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running' offset 0
        )))
),
ordered as materialized (
    select e.id, e.state, f.slots, row_number() over (partition by e.address order by e.rank, e.id) as place
    from eligible e
    join unnest($2::text[], $3::int[]) as f(address, slots) on f.address = e.address
    where e.first
),
picked as materialized (
    select q.at
    from ordered o
    cross join lateral (
        select q.ctid as at
        from millrace.jobs q
        where q.id = o.id and q.state = o.state
        for no key update skip locked
    ) q
    where o.place <= o.slots
),
claimed as (
    update millrace.jobs j
    set state = 'running', worker_id = $1, fence = j.fence + 1, claims = j.claims + 1, started_at = now()
    from picked c
    where j.ctid = c.at
    returning
        j.id, j.address, j.body, j.fence, j.attempt + 1 as attempt, j.claims, j.headers::text, j.correlation_id,
        j.checkpoint::text, j.recorded_at, j.rank
)
select
    id, address, body, fence, attempt, claims, headers, correlation_id, checkpoint, recorded_at, rank,
    (select count(*) from picked) as picked
from claimed
order by rank, id

-- name: settle
-- The ends of runs by arrays: $3 is the state that each asks for, $4 the wait before the next run (null: none, and the
-- job keeps its place), $5 whether the attempt is used up, $6 to $9 what is kept of it.
with ended as (
    select s.*
    from unnest(
        $1::text::text[], $2::text::bigint[], $3::text::text[], $4::text::float8[], $5::text::bool[],
        $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[]
    ) as s(id, fence, state, after_s, counts, error, traceback, result, progress)
),
settled as (
    update millrace.jobs j
    set
        state = case when s.state = 'queued' and j.cancel_requested_at is not null then 'cancelled' else s.state end,
        worker_id = case when s.state = 'queued' and j.cancel_requested_at is null then null else j.worker_id end,
        attempt = j.attempt + coalesce(s.counts, false)::int,
        not_before = coalesce(now() + make_interval(secs => s.after_s), j.not_before),
        rank = case
            when s.after_s is null then j.rank
            else greatest(j.recorded_at, now() + make_interval(secs => s.after_s)) - j.priority * interval '60 seconds'
        end,
        finished_at = case when s.state <> 'queued' or j.cancel_requested_at is not null then now() end,
        error = case when s.state = 'done' then null else nullif(coalesce(s.error, j.error), '') end,
        traceback = case when s.state = 'done' then null else nullif(coalesce(s.traceback, j.traceback), '') end,
        result = s.result::jsonb,
        -- What came to a result, a failure or not, has nothing to go on from.
        checkpoint = case when s.state = 'done' or s.result is not null then null else j.checkpoint end,
        progress = coalesce(s.progress::jsonb, j.progress)
    from ended s
    where j.id = s.id and j.fence = s.fence and j.state = 'running'
    returning j.id, j.fence, j.state, j.unique_key
)
select
    array(select id from settled) as ids,
    array(select fence from settled) as fences,
    case
        when exists (select from settled where state = 'queued')
            or exists (
                select from settled s
                where s.unique_key is not null and exists (
                    select from millrace.jobs w
                    where w.unique_key = s.unique_key and w.state in ('queued', 'running') and w.id <> s.id
                    offset 0
                )
            )
        then pg_notify($10, '')
    end as woken

-- name: ended_as
-- Of these claims, those whose job has ended in the given state under the same fence.
select j.id, j.fence
from unnest($1::text::text[], $2::text::bigint[], $3::text::text[]) as s(id, fence, state)
join millrace.jobs j on j.id = s.id and j.fence = s.fence and j.state = s.state
where s.state <> 'queued'

-- name: note
-- Progress by arrays (null: only ask). A row that a transaction of its job holds (it saved a checkpoint) is passed
-- over, not waited for.
with given as materialized (
    select n.id, n.fence, n.progress
    from unnest($1::text::text[], $2::text::bigint[], $3::text::text[]) as n(id, fence, progress)
),
noted as (
    update millrace.jobs j
    set progress = h.progress::jsonb
    from (
        select l.at, g.progress
        from given g
        cross join lateral (
            select q.ctid as at
            from millrace.jobs q
            where q.id = g.id and q.fence = g.fence and q.state = 'running'
            for no key update skip locked
        ) l
        where g.progress is not null
    ) h
    where j.ctid = h.at
)
select g.id
from given g
left join millrace.jobs j on j.id = g.id and j.fence = g.fence and j.state = 'running'
where j.id is null or j.cancel_requested_at is not null

-- name: checkpoint
-- Within a transaction of the job its row is locked from here on: one that then does nothing for so long has a process
-- that was stopped or is out of reach, and ends, so that the row can be reaped.
update millrace.jobs set checkpoint = $3::text::jsonb
where id = $1 and fence = $2 and state = 'running'
    and set_config('idle_in_transaction_session_timeout', '5min', true) is not null

-- name: guard
-- A share lock lasts until the commit: whoever would take the job away waits or passes by, while other transactions
-- of the same run may commit beside this one. From here to the commit there is nothing to do for its process: if that
-- takes so long, it was stopped, and its session ends, so that the job can be reaped.
select set_config('idle_in_transaction_session_timeout', '15s', true)
from millrace.jobs
where id = $1 and fence = $2 and state = 'running'
for share

-- name: strays
-- What runs at this worker by the table, beside what it knows of ($2, $3).
select
    j.id, j.address, j.body, j.fence, j.attempt + 1 as attempt, j.claims, j.headers::text, j.correlation_id,
    j.checkpoint::text, j.recorded_at
from millrace.jobs j
where j.worker_id = $1 and j.finished_at is null
    and not exists (
        select from unnest($2::text::text[], $3::text::bigint[]) as k(id, fence)
        where k.id = j.id and k.fence = j.fence
    )
order by j.rank, j.id

-- name: acquit
update millrace.jobs j
set crashes = j.crashes - 1
from unnest($1::text::text[], $2::text::bigint[]) as a(id, fence)
where j.id = a.id and j.fence >= a.fence and j.crashes > 0 and j.finished_at is null

-- name: next_due
-- A job that waits for its key is not due. Those that were never delayed are due now; the others have an index.
select least(
    (
        select 0.0
        from unnest($1::text[]) as a(address)
        cross join lateral (
            select q.id
            from millrace.jobs q
            where q.state = 'queued' and q.address = a.address and q.not_before <= now()
                and (q.unique_key is null or not exists (
                    select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running' offset 0
                ))
            order by q.rank
            limit 1
        ) ready
        limit 1
    ),
    (
        select extract(epoch from min(due.not_before) - now())
        from unnest($1::text[]) as a(address)
        cross join lateral (
            select q.not_before
            from millrace.jobs q
            where q.state = 'queued' and q.not_before > q.recorded_at and q.address = a.address
                and (q.unique_key is null or not exists (
                    select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running' offset 0
                ))
            order by q.not_before
            limit 1
        ) due
    )
)::float8
