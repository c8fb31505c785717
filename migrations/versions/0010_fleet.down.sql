alter table millrace.workers
    drop column version,
    drop column schema,
    drop column contracts;
