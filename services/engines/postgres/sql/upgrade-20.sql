-- From version 20, whose records of a command at a parent lacked the indexes that were there and hang on the parent's from then on: functions are replaced.
SELECT 1;
