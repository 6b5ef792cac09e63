-- From version 15, which let a serializable transaction commit without its record, and took an identity that its owner had chosen for its own: functions are replaced.
SELECT 1;
