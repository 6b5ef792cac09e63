-- From version 14, which did not record the views of tables whose column got another name with their parent's: functions are replaced.
SELECT 1;
