-- What handlers keep of their partitions, by name; it stands and falls with the position. Pieces are compressed by whoever
-- makes them, if at all, and rewritten often: they are stored as they come, and what is dead is swept soon.
create table millrace.states (
    partition_id bigint not null,
    name text collate "C" not null,
    data bytea not null,
    primary key (partition_id, name)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
alter table millrace.states alter column data set storage external;
