-- What rows of a table look like, as one short text. Without event triggers a rewrite shows in the table's file alone.
CREATE OR REPLACE FUNCTION tidemark.fingerprint(wanted oid, with_file boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT md5(concat_ws('|', n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, CASE WHEN with_file THEN c.relfilenode END,
         (SELECT string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.fingerprint(oid, boolean) FROM PUBLIC;

-- Records one table, and everything that inherits from it.
CREATE OR REPLACE FUNCTION tidemark.record_table(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one oid;
BEGIN
  FOR one IN
    WITH RECURSIVE family(oid) AS (SELECT wanted UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
    SELECT c.oid FROM pg_catalog.pg_class c JOIN family f ON f.oid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
  LOOP
    PERFORM tidemark.ensure_identity(one);
    INSERT INTO tidemark.ddl (xid, command, kind, oid, facts, columns) VALUES (pg_catalog.pg_current_xact_id()::text, COALESCE(tidemark.ensure_published(one, tag), tag), 'table', one, tidemark.table_facts(one)::text,
      tidemark.fingerprint(one, (SELECT mode = 'polling' FROM tidemark.installation)));
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_table(text, oid) FROM PUBLIC;

-- A renamed enum label or a changed composite type changes the text of rows that are stored: the tables that use the
-- type are recorded as rewritten, so that they are read again.
CREATE OR REPLACE FUNCTION tidemark.record_type(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before jsonb := (SELECT d.facts::jsonb FROM tidemark.ddl d WHERE d.oid = wanted AND d.kind = 'type' ORDER BY d.id DESC LIMIT 1);
  after jsonb := tidemark.type_facts(wanted);
  one oid;
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'type', wanted, after::text);
  IF (after ->> 'type' = 'e' AND EXISTS (SELECT FROM jsonb_array_elements(before -> 'labels') b JOIN jsonb_array_elements(after -> 'labels') a ON a -> 'oid' = b -> 'oid' WHERE a -> 'label' <> b -> 'label'))
     OR (after ->> 'type' = 'c' AND before -> 'attributes' <> after -> 'attributes') THEN
    FOR one IN
      WITH RECURSIVE users(type) AS (
        SELECT wanted
        UNION SELECT further.oid FROM users u CROSS JOIN LATERAL (
          SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typelem = u.type OR t.typbasetype = u.type
          UNION ALL SELECT r.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind = 'c' WHERE a.atttypid = u.type) further)
      SELECT DISTINCT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT a.attisdropped AND a.atttypid IN (SELECT type FROM users) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
    LOOP
      INSERT INTO tidemark.ddl (xid, command, kind, oid, facts)
      VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'rewrite', one, jsonb_build_object('reason', 4, 'plain', false, 'before', tidemark.table_facts(one) -> 'columns')::text);
      PERFORM tidemark.record_table(tag, one);
    END LOOP;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_type(text, oid) FROM PUBLIC;
