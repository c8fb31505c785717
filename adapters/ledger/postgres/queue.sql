-- Jobs on their way. Each query is one statement, so that it is one round trip and one commit.
-- `now()` is the statement's own instant here, since none runs inside a longer transaction but `checkpoint`.

-- name: record
-- New jobs by arrays, sorted by id so that two recorders of the same ids can't deadlock. Those that may start at once
-- ($11 worker, $12 addresses, $13 free runs) are put down as running. Answers with what became of them by id; an id
-- that appears nowhere was there before (or, of a unique_skip job, lost its key to a recorder at the same time).
with lease as materialized (
    select id from millrace.workers where id = $11 and lease_until > clock_timestamp() for key share
),
free as materialized (
    select f.address, f.slots, ahead.rank as ahead
    from lease
    cross join unnest($12::text[], $13::int[]) as f(address, slots)
    left join lateral (
        select j.rank
        from millrace.jobs j
        where j.state = 'queued' and j.address = f.address and j.not_before <= now()
            and (j.unique_key is null or not exists (
                select from millrace.jobs r where r.unique_key = j.unique_key and r.state = 'running'
            ))
        order by j.rank
        limit 1
    ) ahead on true
),
given as (
    select
        g.id, g.address, g.body, g.headers, g.correlation_id, g.priority, g.unique_key, g.unique_skip, g.place,
        coalesce(g.not_before, now()) as not_before,
        now() + g.place * interval '1 microsecond' as recorded_at,
        greatest(now() + g.place * interval '1 microsecond', g.not_before)
            - g.priority * interval '60 seconds' as rank
    from unnest(
        $1::text[], $2::int[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::int[], $8::timestamptz[],
        $9::text[], $10::bool[]
    ) as g(id, place, address, body, headers, correlation_id, priority, not_before, unique_key, unique_skip)
),
keyed as materialized (
    select
        g.id, g.unique_key, g.unique_skip,
        first_value(g.id) over (partition by g.unique_key order by g.place) as first_id
    from given g
    where g.unique_key is not null and not exists (select from millrace.jobs j where j.id = g.id)
),
blocked as materialized (
    select k.id, coalesce(active.id, k.first_id) as active_id
    from keyed k
    left join lateral (
        select j.id
        from millrace.jobs j
        where j.unique_key = k.unique_key and j.state in ('queued', 'running')
        order by j.state desc, j.rank
        limit 1
    ) active on true
    where k.unique_skip and (active.id is not null or k.first_id <> k.id)
),
placed as (
    select
        g.*, b.active_id,
        g.unique_key is null and g.not_before <= now() and (f.ahead is null or g.rank < f.ahead) and f.slots >=
            count(*) filter (
                where g.unique_key is null and g.not_before <= now() and (f.ahead is null or g.rank < f.ahead)
            ) over (partition by g.address order by g.rank, g.place rows unbounded preceding)
            as starts
    from given g
    left join free f on f.address = g.address
    left join blocked b on b.id = g.id
),
inserted as (
    insert into millrace.jobs (
        id, address, state, priority, rank, recorded_at, not_before, unique_key, unique_skip, claims, fence,
        worker_id, started_at, finished_at, correlation_id, headers, body, error
    )
    select
        p.id, p.address,
        case when p.starts then 'running' when p.active_id is not null then 'skipped' else 'queued' end,
        p.priority, p.rank, p.recorded_at, p.not_before, p.unique_key, p.unique_skip,
        case when p.starts then 1 else 0 end, case when p.starts then 1 else 0 end,
        case when p.starts then $11 end, case when p.starts then now() end,
        case when p.active_id is not null then now() end,
        p.correlation_id, p.headers::jsonb, p.body,
        'skipped: job ' || p.active_id || ' with the same unique key was active'
    from placed p
    order by p.id
    on conflict do nothing
    returning id, state
)
select
    now() as recorded_at,
    array(select id from inserted where state = 'running') as running,
    array(select id from inserted where state = 'queued') as queued,
    array(select id from inserted where state = 'skipped') as skipped,
    array(
        select b.active_id from inserted i join blocked b on b.id = i.id where i.state = 'skipped'
    ) as active,
    (select pg_notify($14, '') from inserted where state = 'queued' limit 1) as woken

-- name: claim
-- The best eligible jobs of each address, for a worker whose lease lives. Of one unique key the best alone is taken.
with lease as materialized (
    select id from millrace.workers where id = $1 and lease_until > clock_timestamp() for key share
),
picked as materialized (
    select j.id, j.unique_key, j.rank
    from lease
    cross join unnest($2::text[], $3::int[]) as f(address, slots)
    cross join lateral (
        select q.id, q.unique_key, q.rank
        from millrace.jobs q
        where q.state = 'queued' and q.address = f.address and q.not_before <= now()
            and (q.unique_key is null or ($4 and not exists (
                select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running'
            )))
        order by q.rank
        limit f.slots
        for no key update skip locked
    ) j
),
chosen as (
    select id from picked where unique_key is null
    union all
    (select distinct on (unique_key) id from picked where unique_key is not null order by unique_key, rank, id)
),
claimed as (
    update millrace.jobs j
    set state = 'running', worker_id = $1, fence = j.fence + 1, claims = j.claims + 1, started_at = now()
    from chosen c
    where j.id = c.id
    returning
        j.id, j.address, j.body, j.fence, j.attempt + 1 as attempt, j.claims, j.headers::text, j.correlation_id,
        j.checkpoint::text, j.recorded_at, j.rank
)
select
    id, address, body, fence, attempt, claims, headers, correlation_id, checkpoint, recorded_at,
    (select count(*) from picked) as picked
from claimed
order by rank, id

-- name: claim_only
-- The same among these ids ($5).
with lease as materialized (
    select id from millrace.workers where id = $1 and lease_until > clock_timestamp() for key share
),
ordered as materialized (
    select
        q.id, q.unique_key, q.rank, f.slots,
        row_number() over (partition by q.address order by q.rank, q.id) as place,
        row_number() over (partition by q.unique_key order by q.rank, q.id) as key_place
    from lease
    cross join unnest($2::text[], $3::int[]) as f(address, slots)
    join millrace.jobs q on q.address = f.address
    where q.id = any ($5::text[]) and q.state = 'queued' and q.not_before <= now()
        and (q.unique_key is null or ($4 and not exists (
            select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running'
        )))
),
picked as materialized (
    select q.id
    from millrace.jobs q
    where q.id in (select o.id from ordered o where o.place <= o.slots and (o.unique_key is null or o.key_place = 1))
        and q.state = 'queued'
    for no key update skip locked
),
claimed as (
    update millrace.jobs j
    set state = 'running', worker_id = $1, fence = j.fence + 1, claims = j.claims + 1, started_at = now()
    from picked c
    where j.id = c.id
    returning
        j.id, j.address, j.body, j.fence, j.attempt + 1 as attempt, j.claims, j.headers::text, j.correlation_id,
        j.checkpoint::text, j.recorded_at, j.rank
)
select
    id, address, body, fence, attempt, claims, headers, correlation_id, checkpoint, recorded_at,
    (select count(*) from picked) as picked
from claimed
order by rank, id

-- name: settle
-- The ends of runs by arrays: $3 is the state that each asks for, $4 the wait before the next run, $5 whether the
-- attempt is used up, $6 to $9 what is kept of it.
with ended as (
    select s.*
    from unnest(
        $1::text[], $2::bigint[], $3::text[], $4::float8[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[]
    ) as s(id, fence, state, after_s, counts, error, traceback, result, progress)
),
settled as (
    update millrace.jobs j
    set
        state = case when s.state = 'queued' and j.cancel_requested_at is not null then 'cancelled' else s.state end,
        attempt = j.attempt + s.counts,
        not_before = case when s.state = 'queued' then now() + make_interval(secs => s.after_s) else j.not_before end,
        rank = case
            when s.state = 'queued' then
                greatest(j.recorded_at, now() + make_interval(secs => s.after_s)) - j.priority * interval '60 seconds'
            else j.rank
        end,
        finished_at = case when s.state <> 'queued' or j.cancel_requested_at is not null then now() end,
        error = case when s.state = 'done' then null else coalesce(s.error, j.error) end,
        traceback = case when s.state = 'done' then null else coalesce(s.traceback, j.traceback) end,
        result = case when s.state = 'done' then s.result::jsonb end,
        checkpoint = case when s.state = 'done' then null else j.checkpoint end,
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
                    select from millrace.jobs w where w.unique_key = s.unique_key and w.state = 'queued'
                )
            )
        then pg_notify($10, '')
    end as woken

-- name: ended_as
-- Of these claims, those whose job has ended in the given state under the same fence.
select j.id, j.fence
from unnest($1::text[], $2::bigint[], $3::text[]) as s(id, fence, state)
join millrace.jobs j on j.id = s.id and j.fence = s.fence and j.state = s.state
where s.state <> 'queued'

-- name: note
-- Progress by arrays (null: only ask). A row that a transaction of its job holds (it saved a checkpoint) is passed over, not waited for.
with given as materialized (
    select n.id, n.fence, n.progress
    from unnest($1::text[], $2::bigint[], $3::text[]) as n(id, fence, progress)
),
held as materialized (
    select j.id, j.fence
    from millrace.jobs j
    where j.id in (select g.id from given g where g.progress is not null) and j.state = 'running'
    for no key update skip locked
),
noted as (
    update millrace.jobs j
    set progress = g.progress::jsonb
    from given g
    join held h on h.id = g.id and h.fence = g.fence
    where j.id = g.id
)
select g.id
from given g
left join millrace.jobs j on j.id = g.id and j.fence = g.fence and j.state = 'running'
where j.id is null or j.cancel_requested_at is not null

-- name: checkpoint
update millrace.jobs set checkpoint = $3::text::jsonb where id = $1 and fence = $2 and state = 'running'

-- name: guard
-- A share lock lasts until the commit: whoever would take the job away waits or passes by, while other transactions
-- of the same run may commit beside this one.
select 1 from millrace.jobs where id = $1 and fence = $2 and state = 'running' for share

-- name: put_back
-- Jobs that the ledger took as claimed by this worker but whose answer never reached it ($2, $3: what it does hold).
with held as (
    select h.id, h.fence from unnest($2::text[], $3::bigint[]) as h(id, fence)
),
back as (
    update millrace.jobs j
    set
        state = case when j.cancel_requested_at is null then 'queued' else 'cancelled' end,
        finished_at = case when j.cancel_requested_at is not null then now() end,
        worker_id = null
    where j.worker_id = $1 and j.state = 'running'
        and not exists (select from held h where h.id = j.id and h.fence = j.fence)
    returning j.id
)
select array(select id from back) as back, (select pg_notify($4, '') from back limit 1) as woken

-- name: next_due
select extract(epoch from min(due.not_before) - now())::float8
from unnest($1::text[]) as a(address)
cross join lateral (
    select q.not_before
    from millrace.jobs q
    where q.state = 'queued' and q.address = a.address
        and (q.unique_key is null or not exists (
            select from millrace.jobs r where r.unique_key = q.unique_key and r.state = 'running'
        ))
    order by q.not_before
    limit 1
) due
