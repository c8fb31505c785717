alter table millrace.parked
    drop column epoch,
    drop column charged,
    add column charges integer not null default 0;
alter table millrace.partitions drop column suspect_epoch;
drop table millrace.charges;
create table millrace.charges (
    partition_id bigint not null,
    position numeric(39, 0) not null,
    times integer not null default 1,
    primary key (partition_id, position)
);
