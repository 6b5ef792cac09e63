-- Gives FULL to a published permanent table that is left without a replica identity: else the application's own UPDATE
-- and DELETE would fail (hazard 33).
CREATE OR REPLACE FUNCTION tidemark.ensure_identity(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  bare record;
BEGIN
  SELECT n.nspname, c.relname INTO bare FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = wanted AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark') AND c.relreplident <> 'f' AND pg_catalog.pg_get_replica_identity_index(c.oid) IS NULL;
  IF FOUND THEN
    EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY FULL', bare.nspname, bare.relname);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_identity(oid) FROM PUBLIC;
