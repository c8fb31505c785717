drop table millrace.outbox;
