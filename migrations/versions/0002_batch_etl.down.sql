drop table millrace.quarantine;
drop table millrace.dataset_files;
drop table millrace.dataset_loads;
