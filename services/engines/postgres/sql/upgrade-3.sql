-- From version 3, whose functions recorded less: they are replaced, and nothing else is.
SELECT 1;
