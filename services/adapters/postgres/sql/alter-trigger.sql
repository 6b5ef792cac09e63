-- Values that the stream never had and that a command makes a part of the rows: a generated column that becomes an
-- ordinary one keeps what was computed. Recorded as a rewrite in front of the table's own record (event triggers fire by
-- their names), so that the table is read again.
CREATE OR REPLACE FUNCTION tidemark.on_alter() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, oid, facts)
  WITH RECURSIVE family(oid) AS (
    SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c WHERE c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.objsubid = 0 AND c.schema_name NOT LIKE 'pg\_temp%'
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
  SELECT pg_catalog.pg_current_xact_id()::text, tg_tag, 'rewrite', c.oid, jsonb_build_object('reason', 4, 'plain', false, 'before', latest.facts::jsonb -> 'columns')::text
    FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid AND c.relkind = 'r' AND c.relpersistence = 'p'
    JOIN LATERAL (SELECT d.id, d.facts FROM tidemark.ddl d WHERE d.oid = c.oid AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1) latest ON true
   -- What this command did not touch is not looked at: a partitioned table may have hundreds of partitions.
   WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated = '' AND pg_catalog.age(a.xmin) <= pg_catalog.age(pg_catalog.pg_current_xact_id()::xid))
     AND latest.facts LIKE '%"generated": "s"%' AND EXISTS (SELECT FROM jsonb_array_elements(latest.facts::jsonb -> 'columns') b JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = (b ->> 'attnum')::int2
                  WHERE b ->> 'generated' <> '' AND a.attgenerated = '' AND NOT a.attisdropped)
     AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = c.oid AND e.kind = 'rewrite' AND e.id > latest.id AND e.facts::jsonb ->> 'plain' = 'false');
EXCEPTION WHEN OTHERS THEN
  -- Never the user's failure. Whoever restores finds the change in the table's records and refuses what lies behind it.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.on_alter() FROM PUBLIC;
DROP EVENT TRIGGER IF EXISTS tidemark_alter;
CREATE EVENT TRIGGER tidemark_alter ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION tidemark.on_alter();
ALTER EVENT TRIGGER tidemark_alter ENABLE ALWAYS;
