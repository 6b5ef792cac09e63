-- From version 18, which recorded the members of an extension as objects of their own, and of the extension no more than its name: functions are replaced.
SELECT 1;
