-- From version 9, which recorded nothing of the sequence of an identity column: functions are replaced, and nothing else is.
SELECT 1;
