-- From version 13, which took a table that it could not compare before a drop for one that had not changed: functions are replaced.
SELECT 1;
