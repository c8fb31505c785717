drop table millrace.states;
