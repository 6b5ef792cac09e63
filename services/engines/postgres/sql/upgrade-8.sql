-- From version 8, which did not record a GRANT inside CREATE SCHEMA: functions are replaced, and nothing else is.
SELECT 1;
