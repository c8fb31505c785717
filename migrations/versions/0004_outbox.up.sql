-- What handlers emitted and the bus has not confirmed yet. A row is inserted, read once or a few times, and deleted:
-- nothing is ever updated. `shard` is the range of keys that one sender at a time works on.
create table millrace.outbox (
    shard smallint not null,
    number bigserial not null,
    -- What is too long for an index, or can't be kept as text, stands as its digest.
    id text collate "C" not null unique,
    -- For people.
    address text not null,
    key text,
    added_at timestamptz not null default clock_timestamp(),
    -- MessagePack, since anything can stand in a message's id, key and headers.
    envelope bytea not null,
    primary key (shard, number)
) with (
    -- Every row dies young: vacuum whenever it looks, and as fast as it can. What is inserted won't stay long enough to
    -- be worth a vacuum of its own, and no plan here goes by statistics.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- An envelope of some kilobytes: lz4 costs a fraction of pglz, where the server has it.
do $$
begin
    alter table millrace.outbox alter column envelope set compression lz4;
exception when feature_not_supported then null;
end $$;
