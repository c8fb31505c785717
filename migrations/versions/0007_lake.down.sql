delete from millrace.quarantine where partition is not null;
drop index millrace.quarantine_of_stream;
drop index millrace.quarantine_of_file;
alter table millrace.quarantine
    drop column partition,
    alter column line type bigint,
    add constraint quarantine_dataset_part_file_line_key unique (dataset, part, file, line);
drop table millrace.lake_files;
