drop table millrace.quality_results;
drop table millrace.quality_runs;
