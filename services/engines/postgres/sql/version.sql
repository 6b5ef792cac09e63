-- Which installation this is: the program refuses one of another version, and `init --upgrade` replaces an older one.
CREATE OR REPLACE FUNCTION tidemark.version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 23 $$;
