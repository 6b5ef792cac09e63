-- From version 17, which recorded of a partitioned table below another one no more than the parts that a command reached: functions are replaced.
SELECT 1;
