-- From version 6, whose on_ddl passed over tables that a command made beside other things: functions are replaced, and nothing else is.
SELECT 1;
