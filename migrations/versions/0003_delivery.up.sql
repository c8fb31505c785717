-- Positions of streams, and what waits beside them. Ids, addresses, groups and lanes sort by bytes ("C"). A position is
-- a whole number below 2^127 (a Redis entry id takes 128 bits, but its upper half is a time).

-- One row for each partition of a group, for ever: it is small, and it is what fences. It is updated every few seconds
-- and locked by every transaction of its messages, so there is room on its page (HOT) and nothing updated is indexed.
create table millrace.partitions (
    id bigint generated always as identity unique,
    group_name text collate "C" not null,
    address text collate "C" not null,
    index integer not null,
    epoch bigint not null default 1,
    -- Which making of the address the position belongs to; null: whichever comes next.
    incarnation text,
    -- Who holds it; null after a clean end.
    worker_id text collate "C",
    taken_at timestamptz,
    reported_at timestamptz,
    position numeric(39, 0),
    -- Nothing at or above it was started.
    reach numeric(39, 0),
    -- What is unfinished below it may have killed a holder.
    suspects_below numeric(39, 0),
    lag bigint not null default 0,
    open bigint not null default 0,
    primary key (group_name, address, index)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- What is finished at or above the position, as spans that never overlap. A row lives from the commit of its effects
-- until the position has passed it: vacuum goes by what came, not by a share of what is there. Looked up by its end: of
-- those that end above a position, the first is the only one that can reach below it, and those that died lie behind.
create table millrace.finished (
    partition_id bigint not null,
    first numeric(39, 0) not null,
    past numeric(39, 0) not null check (first < past),
    primary key (partition_id, past)
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- How often a suspect was run alone and did not come back.
create table millrace.charges (
    partition_id bigint not null,
    position numeric(39, 0) not null,
    times integer not null default 1,
    primary key (partition_id, position)
);

-- Ids of messages that were handled, for as long as their route wants them known.
create table millrace.seen (
    group_name text collate "C" not null,
    address text collate "C" not null,
    id text collate "C" not null,
    until timestamptz not null,
    primary key (group_name, address, id)
) with (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);
create index seen_until on millrace.seen (until);
