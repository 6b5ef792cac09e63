-- From version 12, which did not see what was untold of a table that is dropped: functions and event triggers are replaced.
SELECT 1;
