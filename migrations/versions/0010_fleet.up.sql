-- What a worker is, for those of other versions beside it: the newest migration that it knows (0: it is from before this
-- one), and how it reads the messages of its routes, as a fingerprint of the contract by address.
alter table millrace.workers
    add column version text not null default '',
    add column schema integer not null default 0,
    add column contracts jsonb not null default '{}';
