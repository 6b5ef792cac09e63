-- From version 7, whose functions recorded less of rights, types and renames: they are replaced.
SELECT 1;
