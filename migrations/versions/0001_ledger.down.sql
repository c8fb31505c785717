drop table millrace.dead_letters;
drop table millrace.jobs;
drop table millrace.workers;
drop table millrace.ledger;
drop schema millrace;
