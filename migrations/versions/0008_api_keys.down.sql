drop table millrace.api_keys;
