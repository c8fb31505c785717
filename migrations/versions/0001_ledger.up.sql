create schema if not exists millrace;

-- Ids and addresses sort by bytes ("C"): comparing them is a memcmp, and the order is Python's.

create table millrace.ledger (
    id text collate "C" not null default replace(gen_random_uuid()::text, '-', ''),
    made_at timestamptz not null default now(),
    sole boolean primary key default true check (sole)
);
insert into millrace.ledger default values;

-- A row is renewed every few seconds for as long as its worker lives: room on the page keeps that in place (HOT).
create table millrace.workers (
    id text collate "C" primary key,
    host text not null,
    pid integer not null,
    modules text[] not null,
    http text not null,
    started_at timestamptz not null default now(),
    lease_until timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

create table millrace.jobs (
    id text collate "C" primary key,
    address text collate "C" not null,
    state text not null check (state in ('queued', 'running', 'done', 'failed', 'cancelled', 'skipped')),
    priority integer not null,
    -- greatest(recorded_at, not_before) - priority * 60 s: a waiting job's place in the line never changes.
    rank timestamptz not null,
    recorded_at timestamptz not null,
    not_before timestamptz not null,
    unique_key text collate "C",
    unique_skip boolean not null default false,
    attempt integer not null default 0,
    claims integer not null default 0,
    crashes integer not null default 0,
    fence bigint not null default 0,
    -- Who runs it, or ran it last when it has ended; null while it is queued.
    worker_id text collate "C",
    started_at timestamptz,
    finished_at timestamptz,
    cancel_requested_at timestamptz,
    correlation_id text not null,
    headers jsonb not null,
    body bytea not null,
    checkpoint jsonb,
    progress jsonb,
    result jsonb,
    error text,
    traceback text
) with (
    -- Room for what a running job says of itself (progress, checkpoints): that touches no index and is HOT.
    fillfactor = 90,
    -- Every job is updated two or three times: vacuum by what came in, not by a share of what is kept.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- A body or result of some kilobytes: lz4 costs a fraction of pglz, where the server has it.
do $$
begin
    alter table millrace.jobs alter column body set compression lz4;
    alter table millrace.jobs alter column result set compression lz4;
    alter table millrace.jobs alter column checkpoint set compression lz4;
exception when feature_not_supported then null;
end $$;

-- Each index is written again at every change of state (no update of these is HOT), so there are as few as will do.

-- The line: what a claim reads, best first. not_before is there to pass over delayed jobs without visiting them.
create index jobs_line on millrace.jobs (address, rank, not_before) where state = 'queued';
-- When the next delayed job is due.
create index jobs_due on millrace.jobs (address, not_before) where state = 'queued' and not_before > recorded_at;
-- What a worker that died, or left, was running. Its condition is not written as state = 'running': a planner that
-- believes few jobs to be running would then read this index, dead entries and all, instead of the primary key.
create index jobs_held on millrace.jobs (worker_id) where worker_id is not null and finished_at is null;
-- The arbiters of unique keys: one running job of a key; and, of those that are to be skipped, one active.
create unique index jobs_one_running on millrace.jobs (unique_key) where unique_key is not null and state = 'running';
create unique index jobs_one_active on millrace.jobs (unique_key)
    where unique_key is not null and unique_skip and state in ('queued', 'running');
create index jobs_active_key on millrace.jobs (unique_key)
    where unique_key is not null and state in ('queued', 'running');
-- Pages of jobs for people, and the oldest for the pruner.
create index jobs_recorded on millrace.jobs (recorded_at);
-- What people look for among millions that went well.
create index jobs_unwell on millrace.jobs (recorded_at) where state in ('failed', 'cancelled', 'skipped');

create table millrace.dead_letters (
    address text collate "C" not null,
    id text collate "C" not null,
    reason text not null,
    body bytea not null,
    error text not null,
    traceback text not null,
    key text,
    headers jsonb not null,
    origin text not null,
    correlation_id text not null,
    buried_at timestamptz not null,
    primary key (address, id)
);
create index dead_letters_buried on millrace.dead_letters (buried_at);
