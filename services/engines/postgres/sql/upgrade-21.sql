-- From version 21, which called rows that were written before their table came into a list publication a change without a record, and did not record whether a materialized view has rows: functions are replaced.
SELECT 1;
