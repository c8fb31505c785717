-- The runs of suites of checks: one row a job, when it is over.
create table millrace.quality_runs (
    job_id text collate "C" primary key,
    suite text collate "C" not null,
    -- The date that was looked at; null where dates make no difference.
    day date,
    verdict text not null,
    passed integer not null,
    warned integer not null,
    failed integer not null,
    errors integer not null,
    seconds double precision not null,
    completed_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index quality_runs_of on millrace.quality_runs (suite, completed_at desc);
create index quality_runs_expiry on millrace.quality_runs (expires_at);

-- What each check came to. `rows` is how many there were to look at, `of_rows` of how many `value` is a share. `sample`
-- are some failing rows by their keys, personal values masked; `rows_sql` finds them all.
create table millrace.quality_results (
    job_id text collate "C" not null references millrace.quality_runs (job_id) on delete cascade,
    place integer not null,
    source text collate "C" not null,
    name text collate "C" not null,
    kind text not null,
    verdict text not null,
    value double precision,
    of_rows bigint,
    rows bigint,
    warn text,
    fail text,
    why text not null,
    sample jsonb not null,
    sql text not null,
    rows_sql text not null,
    primary key (job_id, place)
);
