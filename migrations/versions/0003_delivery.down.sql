drop table millrace.seen;
drop table millrace.charges;
drop table millrace.finished;
drop table millrace.partitions;
