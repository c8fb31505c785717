drop function millrace.unpark(text, text, integer, bigint, bigint, text, text[], double precision);
drop function millrace.lock_lane(bigint, text);
drop function millrace.finish(text, text, integer, bigint, numeric[], numeric[], text[], double precision);
drop function millrace.see(text, text, text[], double precision);
drop index millrace.dead_letters_of_address;
drop index millrace.dead_letters_buried;
-- Of several groups' letters of one message the newest stays.
delete from millrace.dead_letters old
using millrace.dead_letters new
where old.address = new.address and old.id = new.id
    and (old.buried_at, old.group_name) < (new.buried_at, new.group_name);
alter table millrace.dead_letters drop constraint dead_letters_pkey, add primary key (address, id);
alter table millrace.dead_letters
    drop column group_name, drop column partition, drop column position, drop column attempts, drop column replays;
create index dead_letters_buried on millrace.dead_letters (buried_at);
drop table millrace.parked;
drop table millrace.seen;
drop table millrace.charges;
drop table millrace.finished;
drop table millrace.partitions;
