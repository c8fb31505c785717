-- One row for each load of one dataset's day (`part`; '' where days do not matter): what it read and what became of it.
create table millrace.dataset_loads (
    id bigint generated always as identity primary key,
    dataset text collate "C" not null,
    part text collate "C" not null,
    target text not null,
    -- The table that was loaded, not its name: a table that was dropped and made anew knows nothing of this load.
    target_oid oid not null,
    mode text not null,
    declaration text not null,
    job_id text collate "C" not null,
    read bigint not null,
    loaded bigint not null,
    updated bigint not null,
    unchanged bigint not null,
    duplicate bigint not null,
    rejected bigint not null,
    removed bigint not null,
    bytes bigint not null,
    seconds double precision not null,
    loaded_at timestamptz not null default now(),
    check (read = loaded + updated + unchanged + duplicate + rejected)
);
create index dataset_loads_of on millrace.dataset_loads (dataset, loaded_at desc);

-- What each file held when it was loaded: how a file that has not changed is known without reading it.
create table millrace.dataset_files (
    dataset text collate "C" not null,
    part text collate "C" not null,
    path text collate "C" not null,
    content text not null,
    version text not null,
    size_bytes bigint not null,
    read bigint not null,
    rejected bigint not null,
    load_id bigint not null references millrace.dataset_loads (id) on delete cascade,
    primary key (dataset, part, path, content)
);
create index dataset_files_of_load on millrace.dataset_files (load_id);
create index dataset_files_by_content on millrace.dataset_files (dataset, content);

-- Rows that were not loaded, and why. `raw` is their text in the file, cut, with personal values masked; `escaped`
-- where it held bytes that are not text: those stand as \xNN, and a backslash as two.
create table millrace.quarantine (
    id bigint generated always as identity primary key,
    dataset text collate "C" not null,
    part text collate "C" not null,
    file text collate "C" not null,
    content text not null,
    line bigint not null,
    reasons jsonb not null,
    raw text not null,
    raw_bytes bigint not null,
    escaped boolean not null,
    job_id text collate "C" not null,
    rejected_at timestamptz not null default now(),
    expires_at timestamptz not null,
    unique (dataset, part, file, line)
);
create index quarantine_expiry on millrace.quarantine (expires_at);
