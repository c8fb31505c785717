-- The manifests of all lakes: the files that are whole. A file that is not listed is what a crashed batch has left.
create table millrace.lake_files (
    path text collate "C" primary key,
    -- The name of the event.
    lake text collate "C" not null,
    format text not null,
    event_date date not null,
    rows bigint not null,
    bytes bigint not null,
    topic text collate "C" not null,
    partition integer not null,
    first_position numeric(39, 0) not null,
    last_position numeric(39, 0) not null,
    written_at timestamptz not null default now()
);
create index lake_files_of on millrace.lake_files (lake, event_date, path);
create index lake_files_written on millrace.lake_files (written_at);

-- A refused message of a stream is kept as a refused row of a file is: `dataset` is the event's name, `file` the topic,
-- `line` the position in `partition`. A topic that is made anew has the same positions again.
alter table millrace.quarantine
    add column partition integer,
    alter column line type numeric(39, 0),
    drop constraint quarantine_dataset_part_file_line_key;
create unique index quarantine_of_file on millrace.quarantine (dataset, part, file, line) where partition is null;
create index quarantine_of_stream on millrace.quarantine (dataset, file, line) where partition is not null;
