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

-- Messages that wait, so that their partition can move on. `head` is set for the first of each lane and for those
-- without one: only they can be due, so a long lane costs no more than a short one. Who takes a row out makes its
-- follower the head, under a lock of the lane (`unpark`).
create table millrace.parked (
    number bigint generated always as identity primary key,
    partition_id bigint not null,
    position numeric(39, 0) not null,
    -- What orders; what is too long for an index, or can't be kept as text, stands as its digest and whole beside it.
    lane text collate "C",
    lane_whole bytea,
    head boolean not null,
    due_at timestamptz not null,
    attempt integer not null,
    charges integer not null default 0,
    error text not null,
    parked_at timestamptz not null default now(),
    -- MessagePack, since anything can stand in a message's id, key and headers.
    envelope bytea not null
) with (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);
do $$
begin
    alter table millrace.parked alter column envelope set compression lz4;
exception when feature_not_supported then null;
end $$;
create index parked_due on millrace.parked (partition_id, due_at, number) where head;
create index parked_lanes on millrace.parked (partition_id, lane, number) where lane is not null;

-- A dead letter belongs to the group whose route gave it up, and remembers where it was, so that it can go back there.
alter table millrace.dead_letters
    add column group_name text collate "C" not null default '',
    add column partition integer,
    add column position numeric(39, 0),
    add column attempts integer not null default 0,
    add column replays integer not null default 0,
    drop constraint dead_letters_pkey,
    add primary key (address, group_name, id);
drop index millrace.dead_letters_buried;
-- Pages of them for people, newest first, of all or of one route; and the oldest for the pruner.
create index dead_letters_buried on millrace.dead_letters (buried_at, id);
create index dead_letters_of_address on millrace.dead_letters (address, buried_at, id);

-- The fences. They are functions, since they run on the connections of handlers, where a plan that was made while a table
-- was almost empty would read the whole of it when it no longer is: in here an index is used whatever the statistics
-- say. And each statement in them sees what was committed before it began, so what one of them waited for, too.

-- Marks ids as seen, for so long. False: one of them was seen within its time. They are sorted, so that two calls can't
-- wait for each other; who has the same id at the same time waits for the other's end.
create function millrace.see(_group text, _address text, _ids text[], _dedupe_s double precision)
returns boolean language plpgsql
as $$
declare
    _done bigint;
begin
    if cardinality(_ids) = 0 then
        return true;
    end if;
    insert into millrace.seen as s (group_name, address, id, until)
    select _group, _address, i.id, clock_timestamp() + make_interval(secs => _dedupe_s)
    from unnest(_ids) as i(id)
    on conflict (group_name, address, id) do update set until = excluded.until
    where s.until <= clock_timestamp();
    get diagnostics _done = row_count;
    return _done = cardinality(_ids);
end
$$;

-- Marks spans as finished and ids as seen (for `_dedupe_s`), for a transaction of the hold: its last statement before
-- the commit. False: the epoch has moved on, a part of the spans was finished before, or an id was seen within its time;
-- the transaction must then be rolled back.
create function millrace.finish(
    _group text, _address text, _index integer, _epoch bigint,
    _firsts numeric[], _pasts numeric[], _ids text[], _dedupe_s double precision
) returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    _id bigint;
    _position numeric;
    _done bigint;
begin
    select p.id, p.position into _id, _position
    from millrace.partitions p
    where p.group_name = _group and p.address = _address and p.index = _index and p.epoch = _epoch
    for key share;
    if not found then
        return false;
    end if;
    insert into millrace.finished (partition_id, first, past)
    select _id, s.first, s.past
    from unnest(_firsts, _pasts) as s(first, past)
    where (_position is null or _position <= s.first)
        -- Of those that end above it, only the first can begin below its end.
        and coalesce(
            (
                select f.first
                from millrace.finished f
                where f.partition_id = _id and f.past > s.first
                order by f.past
                limit 1
            ) >= s.past,
            true
        )
    on conflict do nothing;
    get diagnostics _done = row_count;
    if _done < cardinality(_firsts) then
        return false;
    end if;
    return millrace.see(_group, _address, _ids, _dedupe_s);
end
$$;

-- Takes a parked message out, for a transaction of the hold: its last statement before the commit. Its follower in the
-- lane becomes the head. False: it was not there, or an id was seen within its time; null: the epoch has moved on.
--
-- Whoever changes the order of a lane has the lane's lock until their commit: otherwise one who parks behind the last
-- message, while another takes that out, would leave a lane without a head.
create function millrace.unpark(
    _group text, _address text, _index integer, _epoch bigint, _number bigint, _lane text,
    _ids text[], _dedupe_s double precision
) returns boolean language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    _id bigint;
begin
    select p.id into _id
    from millrace.partitions p
    where p.group_name = _group and p.address = _address and p.index = _index and p.epoch = _epoch
    for key share;
    if not found then
        return null;
    end if;
    if _lane is not null then
        perform millrace.lock_lane(_id, _lane);
    end if;
    delete from millrace.parked k where k.number = _number and k.partition_id = _id;
    if not found then
        return false;
    end if;
    if _lane is not null then
        update millrace.parked k
        set head = true
        where not k.head and k.number = (
            select f.number
            from millrace.parked f
            where f.partition_id = _id and f.lane = _lane and f.number > _number
            order by f.number
            limit 1
        );
    end if;
    return millrace.see(_group, _address, _ids, _dedupe_s);
end
$$;

-- Two lanes that share a lock (one in 2^64) only wait for each other.
create function millrace.lock_lane(_partition_id bigint, _lane text) returns void language sql
as $$ select pg_advisory_xact_lock(hashtextextended(_lane, _partition_id)) $$;
