-- Who is charged with what, and what waits under suspicion.

-- The holds under which a suspect was run alone and did not come back. By hold, so that one who does come back takes back
-- its own charge, though others hold the partition by then. What was charged before is forgotten: its next run counts.
drop table millrace.charges;
create table millrace.charges (
    partition_id bigint not null,
    position numeric(39, 0) not null,
    epoch bigint not null,
    primary key (partition_id, position, epoch)
);

-- The last hold that was taken from one who did not leave cleanly: what waits since before that may have killed it.
alter table millrace.partitions add column suspect_epoch bigint not null default 0;

alter table millrace.parked
    -- The hold under which it was put here, or came back from its last attempt.
    add column epoch bigint not null default 0,
    -- As in `charges`.
    add column charged bigint[] not null default '{}',
    drop column charges;
