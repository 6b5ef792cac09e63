-- What the event triggers run: each DDL is recorded inside the user's transaction.

CREATE OR REPLACE FUNCTION tidemark.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
  affected oid;
BEGIN
  FOR c IN SELECT DISTINCT classid, objid, object_type, command_tag, object_identity, COALESCE(schema_name, '') AS schema_name
             FROM pg_catalog.pg_event_trigger_ddl_commands() LOOP
    CONTINUE WHEN c.schema_name LIKE 'pg\_temp%' OR c.schema_name = 'tidemark';
    affected := NULL;
    IF c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
      SELECT CASE WHEN r.relkind IN ('r', 'p') THEN r.oid WHEN r.relkind IN ('i', 'I') THEN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indexrelid = r.oid) END
        INTO affected FROM pg_catalog.pg_class r WHERE r.oid = c.objid;
    ELSIF c.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
      SELECT g.tgrelid INTO affected FROM pg_catalog.pg_trigger g WHERE g.oid = c.objid;
    ELSIF c.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
      SELECT p.polrelid INTO affected FROM pg_catalog.pg_policy p WHERE p.oid = c.objid;
    ELSIF c.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
      SELECT k.conrelid INTO affected FROM pg_catalog.pg_constraint k WHERE k.oid = c.objid;
    ELSIF c.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
      SELECT r.ev_class INTO affected FROM pg_catalog.pg_rewrite r WHERE r.oid = c.objid;
    END IF;
    BEGIN
      IF affected IS NOT NULL AND affected <> 0 THEN
        PERFORM tidemark.record_table(c.command_tag, affected);
        IF c.command_tag = 'ALTER TABLE' AND EXISTS (SELECT FROM pg_catalog.pg_class p WHERE p.oid = affected AND p.relkind = 'p') THEN
          -- DETACH names the parent alone: tables whose latest record still says that they are a partition.
          FOR affected IN
            SELECT r.oid FROM pg_catalog.pg_class r JOIN LATERAL (SELECT d.facts FROM tidemark.ddl d WHERE d.oid = r.oid AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1) latest ON true
             WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition AND r.oid >= 16384 AND latest.facts::jsonb ->> 'partitionBound' IS NOT NULL
          LOOP
            PERFORM tidemark.record_table(c.command_tag, affected);
          END LOOP;
        END IF;
      ELSIF c.object_type = 'sequence' THEN
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) SELECT pg_catalog.pg_current_xact_id()::text, c.command_tag, 'sequence', c.objid, f::text
          FROM tidemark.sequence_facts(c.objid) f WHERE NOT (f ->> 'identity')::boolean;
      ELSIF c.classid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN
        PERFORM tidemark.record_type(c.command_tag, c.objid);
      ELSIF c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = c.objid AND r.relkind = 'c') THEN
        PERFORM tidemark.record_type(c.command_tag, (SELECT r.reltype FROM pg_catalog.pg_class r WHERE r.oid = c.objid));
      ELSIF c.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND c.command_tag = 'ALTER SCHEMA' THEN
        -- A renamed schema renames every table in it.
        FOR affected IN SELECT r.oid FROM pg_catalog.pg_class r WHERE r.relnamespace = c.objid AND r.relkind IN ('r', 'p') LOOP
          PERFORM tidemark.record_table(c.command_tag, affected);
        END LOOP;
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, c.command_tag, 'other', c.objid, jsonb_build_object('type', c.object_type, 'identity', c.object_identity)::text);
      ELSE
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, c.command_tag, 'other', c.objid, jsonb_build_object('type', c.object_type, 'identity', c.object_identity)::text);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      -- Never the user's failure. The catalog fingerprint of the next segment finds what is missing here.
      NULL;
    END;
  END LOOP;
EXCEPTION WHEN OTHERS THEN
  NULL;
END
$$;

CREATE OR REPLACE FUNCTION tidemark.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  d record;
  one oid;
  index_dropped boolean := false;
BEGIN
  FOR d IN SELECT classid, objid, objsubid, object_type, object_identity, schema_name, address_names, is_temporary FROM pg_catalog.pg_event_trigger_dropped_objects() LOOP
    CONTINUE WHEN d.is_temporary OR d.schema_name IN ('tidemark', 'pg_toast');
    BEGIN
      IF d.object_type = 'table column' THEN
        PERFORM tidemark.record_table(tg_tag, d.objid);
      ELSIF d.object_type = 'table constraint' THEN
        SELECT c.oid INTO one FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = d.address_names[1] AND c.relname = d.address_names[2];
        IF FOUND THEN PERFORM tidemark.record_table(tg_tag, one); END IF;
      ELSIF d.object_type IN ('table', 'index', 'type', 'sequence', 'view', 'materialized view', 'function', 'procedure', 'trigger', 'schema', 'policy', 'rule') THEN
        index_dropped := index_dropped OR d.object_type = 'index';
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tg_tag, 'drop', d.objid,
          jsonb_build_object('type', d.object_type, 'identity', d.object_identity, 'names', to_jsonb(d.address_names))::text);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  IF index_dropped THEN
    FOR one IN SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.relreplident = 'i' AND pg_catalog.pg_get_replica_identity_index(c.oid) IS NULL LOOP
      BEGIN
        PERFORM tidemark.record_table(tg_tag, one);
      EXCEPTION WHEN OTHERS THEN
        NULL;
      END;
    END LOOP;
  END IF;
EXCEPTION WHEN OTHERS THEN
  NULL;
END
$$;

-- A rewrite leaves no rows in the stream (hazard 25): say why it happened, and whether a USING may have changed values.
CREATE OR REPLACE FUNCTION tidemark.on_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tg_tag, 'rewrite', pg_catalog.pg_event_trigger_table_rewrite_oid(),
    jsonb_build_object('reason', pg_catalog.pg_event_trigger_table_rewrite_reason(),
      -- Only text that shows the whole command can show that it has no USING: nothing that calls further code.
      'plain', current_query() ~* '\malter\s+table\M' AND current_query() !~* '\m(using|do|call|select|execute|perform)\M',
      -- The catalog already shows the new columns; the table's latest record has the old ones.
      'before', (SELECT d.facts::jsonb -> 'columns' FROM tidemark.ddl d WHERE d.oid = pg_catalog.pg_event_trigger_table_rewrite_oid() AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1))::text);
EXCEPTION WHEN OTHERS THEN
  NULL;
END
$$;

REVOKE ALL ON FUNCTION tidemark.on_ddl() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_drop() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_rewrite() FROM PUBLIC;
