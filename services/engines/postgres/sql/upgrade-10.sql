-- From version 10, which made a list of the publication without a record: functions are replaced, and nothing else is.
SELECT 1;
