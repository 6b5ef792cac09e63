-- From version 16, which took a table's name for said wherever the text had its letters, and wrote a table's record ahead of what it gave the table: functions are replaced.
SELECT 1;
