-- What version 1 of the installation put into a source, as one script: the upgrade is tried on it. Never made again.
-- What Tidemark puts into a source: one schema, owned by the installing administrator. `tidemark uninstall` removes it.
--
-- Safety: everything here is owned by the administrator, never by Tidemark's role (whoever owns a trigger function runs
-- as the administrator at the next DDL). The functions pin their search_path, name every object with its schema, and
-- execute only identifiers quoted by format('%I'). Nobody but the owner may write the tables, so a record cannot be
-- forged. A failure inside a trigger function is swallowed: the user's DDL never fails because of us.

CREATE SCHEMA tidemark;
REVOKE ALL ON SCHEMA tidemark FROM PUBLIC;

-- One row per object that a DDL command touched, written inside the user's transaction.
CREATE TABLE tidemark.ddl (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid     text NOT NULL,
  command text NOT NULL,
  kind    text NOT NULL,
  oid     bigint,
  facts   text,
  -- Of tables: tidemark.fingerprint() then. Compared with the catalog as it is, it shows what no record tells.
  columns text
);
CREATE INDEX ddl_by_object ON tidemark.ddl (oid, id);
CREATE TABLE tidemark.marker (
  id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL
);
-- One row: whose installation this is.
CREATE TABLE tidemark.installation (
  stream      text PRIMARY KEY,
  publication text NOT NULL,
  slot        text NOT NULL,
  -- 'triggers', or 'polling' where event triggers and a publication of all tables were not to be had.
  mode        text NOT NULL,
  -- The role that init gave rights of the whole cluster to, and those that it did not have before.
  grantee     text,
  granted     text[] NOT NULL DEFAULT '{}'
);
REVOKE ALL ON ALL TABLES IN SCHEMA tidemark FROM PUBLIC;
-- A table as the catalog has it: enough to carry rows over a change of its columns, and to make it again.
CREATE FUNCTION tidemark.table_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
  'owner', pg_get_userbyid(c.relowner), 'replicaIdentity', c.relreplident, 'options', to_jsonb(c.reloptions),
  'rowSecurity', c.relrowsecurity, 'forceRowSecurity', c.relforcerowsecurity,
  'accessMethod', (SELECT am.amname FROM pg_am am WHERE am.oid = c.relam),
  'ofType', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
  'partitionKey', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
  'partitionBound', CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
  'parents', (SELECT jsonb_agg(jsonb_build_object('schema', pn.nspname, 'name', p.relname) ORDER BY i.inhseqno)
                FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
               WHERE i.inhrelid = c.oid),
  'keyColumns', COALESCE((SELECT jsonb_agg(a.attname ORDER BY k.place)
                  FROM pg_index x CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 WHERE x.indexrelid = pg_get_replica_identity_index(c.oid) AND k.place <= x.indnkeyatts AND c.relreplident <> 'f'), '[]'),
  'identityIndex', (SELECT ic.relname FROM pg_class ic WHERE ic.oid = pg_get_replica_identity_index(c.oid)),
  'columns', COALESCE((SELECT jsonb_agg(jsonb_build_object(
       'attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
       'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
       'default', pg_get_expr(d.adbin, d.adrelid),
       'hasMissing', a.atthasmissing, 'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
       'collation', CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END,
       'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END,
       'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END,
       'statistics', CASE WHEN COALESCE(a.attstattarget, -1) >= 0 THEN a.attstattarget END,
       'local', a.attislocal,
       'sequence', (SELECT jsonb_build_object('schema', sn.nspname, 'name', sc.relname, 'start', s.seqstart::text, 'increment', s.seqincrement::text,
                          'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle)
                     FROM pg_depend dep JOIN pg_class sc ON sc.oid = dep.objid AND sc.relkind = 'S' JOIN pg_namespace sn ON sn.oid = sc.relnamespace
                     JOIN pg_sequence s ON s.seqrelid = sc.oid
                    WHERE dep.classid = 'pg_class'::regclass AND dep.refclassid = 'pg_class'::regclass AND dep.refobjid = a.attrelid
                      AND dep.refobjsubid = a.attnum AND dep.deptype = 'i' AND a.attidentity <> '')
     ) ORDER BY a.attnum)
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'constraints', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'type', k.contype, 'definition', pg_get_constraintdef(k.oid),
       'index', (SELECT ic.relname FROM pg_class ic WHERE ic.oid = k.conindid AND k.contype IN ('p', 'u', 'x')),
       'inherited', k.coninhcount > 0 AND NOT k.conislocal, 'hasParent', k.conparentid <> 0,
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_inherits i JOIN pg_class pi ON pi.oid = i.inhparent JOIN pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = k.conindid AND k.contype IN ('p', 'u'))
     ) ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'), '[]'),
  'indexes', COALESCE((SELECT jsonb_agg(jsonb_build_object('schema', xn.nspname, 'name', xc.relname, 'definition', pg_get_indexdef(x.indexrelid),
       'clustered', x.indisclustered, 'identity', x.indisreplident,
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_inherits i JOIN pg_class pi ON pi.oid = i.inhparent JOIN pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = x.indexrelid)
     ) ORDER BY xc.relname) FROM pg_index x JOIN pg_class xc ON xc.oid = x.indexrelid JOIN pg_namespace xn ON xn.oid = xc.relnamespace
    WHERE x.indrelid = c.oid AND x.indisvalid
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))), '[]'),
  'triggers', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled) ORDER BY g.tgname)
     FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgparentid = 0), '[]'),
  'rules', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', r.rulename, 'definition', pg_get_ruledef(r.oid)) ORDER BY r.rulename)
     FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '[]'),
  'policies', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive,
       'roles', (SELECT jsonb_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.oid)) END) FROM unnest(p.polroles) AS r(oid)),
       'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
     FROM pg_policy p WHERE p.polrelid = c.oid), '[]'),
  'comments', COALESCE((SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'text', ds.description) ORDER BY ds.objsubid)
     FROM pg_description ds LEFT JOIN pg_attribute a ON a.attrelid = ds.objoid AND a.attnum = ds.objsubid AND ds.objsubid > 0
    WHERE ds.objoid = c.oid AND ds.classoid = 'pg_class'::regclass), '[]'),
  'grants', COALESCE((SELECT jsonb_agg(g ORDER BY g::text) FROM (
       SELECT jsonb_build_object('grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, 'privilege', x.privilege_type, 'grantable', x.is_grantable, 'column', NULL) AS g
         FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner
       UNION ALL
       SELECT jsonb_build_object('grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, 'privilege', x.privilege_type, 'grantable', x.is_grantable, 'column', a.attname)
         FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE a.attrelid = c.oid AND NOT a.attisdropped) AS all_grants), '[]')
) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.table_facts(oid) FROM PUBLIC;

-- A type as the catalog has it.
CREATE FUNCTION tidemark.type_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', t.oid::bigint, 'schema', n.nspname, 'name', t.typname, 'type', t.typtype, 'owner', pg_get_userbyid(t.typowner),
  'labels', (SELECT jsonb_agg(jsonb_build_object('oid', e.oid::bigint, 'label', e.enumlabel) ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
  'notNull', t.typnotnull, 'default', t.typdefault,
  'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = t.typcollation) END,
  'constraints', (SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'definition', pg_get_constraintdef(k.oid)) ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
  'attributes', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped),
  'subtype', (SELECT jsonb_build_object('type', format_type(r.rngsubtype, NULL), 'opclass', (SELECT format('%I.%I', on_.nspname, oc.opcname) FROM pg_opclass oc JOIN pg_namespace on_ ON on_.oid = oc.opcnamespace WHERE oc.oid = r.rngsubopc AND NOT oc.opcdefault),
       'multirange', (SELECT format('%I.%I', mn.nspname, m.typname) FROM pg_type m JOIN pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = r.rngmultitypid))
      FROM pg_range r WHERE r.rngtypid = t.oid)
) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_type b ON b.oid = t.typbasetype WHERE t.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.type_facts(oid) FROM PUBLIC;

CREATE FUNCTION tidemark.sequence_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'owner', pg_get_userbyid(c.relowner), 'type', format_type(s.seqtypid, NULL),
  'start', s.seqstart::text, 'increment', s.seqincrement::text, 'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
  'identity', EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'),
  'ownedBy', (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
                JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.sequence_facts(oid) FROM PUBLIC;
-- Gives FULL to a published permanent table that is left without a replica identity: else the application's own UPDATE
-- and DELETE would fail (hazard 33).
CREATE FUNCTION tidemark.ensure_identity(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
DECLARE
  bare record;
BEGIN
  SELECT n.nspname, c.relname INTO bare FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = wanted AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark') AND c.relreplident <> 'f' AND pg_get_replica_identity_index(c.oid) IS NULL;
  IF FOUND THEN
    EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY FULL', bare.nspname, bare.relname);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_identity(oid) FROM PUBLIC;
-- What rows of a table look like, as one short text. Without event triggers a rewrite shows in the table's file alone.
CREATE FUNCTION tidemark.fingerprint(wanted oid, with_file boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
SELECT md5(concat_ws('|', n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, CASE WHEN with_file THEN c.relfilenode END,
         (SELECT string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated), ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.fingerprint(oid, boolean) FROM PUBLIC;

-- Records one table, and everything that inherits from it.
CREATE FUNCTION tidemark.record_table(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
DECLARE
  one oid;
BEGIN
  FOR one IN
    WITH RECURSIVE family(oid) AS (SELECT wanted UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid)
    SELECT c.oid FROM pg_class c JOIN family f ON f.oid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
  LOOP
    PERFORM tidemark.ensure_identity(one);
    INSERT INTO tidemark.ddl (xid, command, kind, oid, facts, columns) VALUES (pg_current_xact_id()::text, tag, 'table', one, tidemark.table_facts(one)::text,
      tidemark.fingerprint(one, (SELECT mode = 'polling' FROM tidemark.installation)));
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_table(text, oid) FROM PUBLIC;

-- A renamed enum label or a changed composite type changes the text of rows that are stored: the tables that use the
-- type are recorded as rewritten, so that they are read again.
CREATE FUNCTION tidemark.record_type(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
DECLARE
  before jsonb := (SELECT d.facts::jsonb FROM tidemark.ddl d WHERE d.oid = wanted AND d.kind = 'type' ORDER BY d.id DESC LIMIT 1);
  after jsonb := tidemark.type_facts(wanted);
  one oid;
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, tag, 'type', wanted, after::text);
  IF (after ->> 'type' = 'e' AND EXISTS (SELECT FROM jsonb_array_elements(before -> 'labels') b JOIN jsonb_array_elements(after -> 'labels') a ON a -> 'oid' = b -> 'oid' WHERE a -> 'label' <> b -> 'label'))
     OR (after ->> 'type' = 'c' AND before -> 'attributes' <> after -> 'attributes') THEN
    FOR one IN
      WITH RECURSIVE users(type) AS (
        SELECT wanted
        UNION SELECT further.oid FROM users u CROSS JOIN LATERAL (
          SELECT t.oid FROM pg_type t WHERE t.typelem = u.type OR t.typbasetype = u.type
          UNION ALL SELECT r.reltype FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid AND r.relkind = 'c' WHERE a.atttypid = u.type) further)
      SELECT DISTINCT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT a.attisdropped AND a.atttypid IN (SELECT type FROM users) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
    LOOP
      INSERT INTO tidemark.ddl (xid, command, kind, oid, facts)
      VALUES (pg_current_xact_id()::text, tag, 'rewrite', one, jsonb_build_object('reason', 4, 'plain', false, 'before', tidemark.table_facts(one) -> 'columns')::text);
      PERFORM tidemark.record_table(tag, one);
    END LOOP;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_type(text, oid) FROM PUBLIC;
-- Records what no record tells: a failure of the recording that was swallowed, DDL under disabled event triggers, or,
-- in the mode 'polling', any DDL. Each such record stands for a gap of its table from the last time that all was well.
-- Returns the transaction in which it recorded something, and the tables for which that failed: nothing counts as checked
-- while there is one. May be called by Tidemark's role.
CREATE FUNCTION tidemark.repair(OUT recorded text, OUT failed text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '2s'
AS $$
DECLARE
  installed record;
  one record;
  repaired boolean := false;
BEGIN
  failed := '{}';
  SELECT i.publication, i.mode = 'polling' AS polling INTO installed FROM tidemark.installation i;
  FOR one IN
    SELECT c.oid AS id, n.nspname, c.relname, c.relpersistence
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (SELECT d.columns FROM tidemark.ddl d WHERE d.oid = c.oid AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1) latest ON true
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
       AND latest.columns IS DISTINCT FROM tidemark.fingerprint(c.oid, installed.polling)
  LOOP
    BEGIN
      -- Its identity first: published without one, the application's UPDATE and DELETE would fail.
      PERFORM tidemark.ensure_identity(one.id);
      IF installed.polling AND one.relpersistence = 'p' AND NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = installed.publication AND r.prrelid = one.id) THEN
        EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', installed.publication, one.nspname, one.relname);
      END IF;
      PERFORM tidemark.record_table('REPAIR', one.id);
      repaired := true;
    EXCEPTION WHEN OTHERS THEN
      -- Locked, or not ours to alter: said, and tried again by the next call. Gone meanwhile is no failure.
      IF EXISTS (SELECT FROM pg_class c WHERE c.oid = one.id) THEN
        failed := failed || format('%I.%I', one.nspname, one.relname);
      END IF;
    END;
  END LOOP;
  FOR one IN
    SELECT DISTINCT ON (d.oid) d.oid AS id, d.facts::jsonb AS facts FROM tidemark.ddl d
     WHERE d.kind = 'table' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = 'drop' AND e.id > d.id)
     ORDER BY d.oid, d.id DESC
  LOOP
    INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, 'REPAIR', 'drop', one.id,
      jsonb_build_object('type', 'table', 'identity', format('%I.%I', one.facts ->> 'schema', one.facts ->> 'name'), 'names', jsonb_build_array(one.facts ->> 'schema', one.facts ->> 'name'))::text);
    repaired := true;
  END LOOP;
  recorded := CASE WHEN repaired THEN pg_current_xact_id()::text END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.repair() FROM PUBLIC;

-- A transaction of ours with a row in the stream. May be called by Tidemark's role.
CREATE FUNCTION tidemark.touch() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $$ UPDATE tidemark.installation SET slot = slot $$;
REVOKE ALL ON FUNCTION tidemark.touch() FROM PUBLIC;

-- Removes the records of transactions below this one, which the backup holds durably; may be called by Tidemark's role, which has no other right to write.
CREATE FUNCTION tidemark.forget(below xid8) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $$
  -- The latest record of each table and type that is there stays: a rewrite looks up the columns that were.
  WITH gone AS (DELETE FROM tidemark.ddl d WHERE d.xid::xid8 < below AND NOT (
         (d.kind = 'table' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.oid) OR d.kind = 'type' AND EXISTS (SELECT FROM pg_type t WHERE t.oid = d.oid))
         AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = d.kind AND e.id > d.id)) RETURNING 1)
  SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION tidemark.forget(xid8) FROM PUBLIC;
-- The event triggers: each DDL is recorded inside the user's transaction. Needs a superuser; without one the source is
-- asked again and again instead (tidemark.repair).

CREATE FUNCTION tidemark.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
  c record;
  affected oid;
BEGIN
  FOR c IN SELECT DISTINCT classid, objid, object_type, command_tag, object_identity, COALESCE(schema_name, '') AS schema_name
             FROM pg_event_trigger_ddl_commands() LOOP
    CONTINUE WHEN c.schema_name LIKE 'pg\_temp%' OR c.schema_name = 'tidemark';
    affected := NULL;
    IF c.classid = 'pg_class'::regclass THEN
      SELECT CASE WHEN r.relkind IN ('r', 'p') THEN r.oid WHEN r.relkind IN ('i', 'I') THEN (SELECT x.indrelid FROM pg_index x WHERE x.indexrelid = r.oid) END
        INTO affected FROM pg_class r WHERE r.oid = c.objid;
    ELSIF c.classid = 'pg_trigger'::regclass THEN
      SELECT g.tgrelid INTO affected FROM pg_trigger g WHERE g.oid = c.objid;
    ELSIF c.classid = 'pg_policy'::regclass THEN
      SELECT p.polrelid INTO affected FROM pg_policy p WHERE p.oid = c.objid;
    ELSIF c.classid = 'pg_constraint'::regclass THEN
      SELECT k.conrelid INTO affected FROM pg_constraint k WHERE k.oid = c.objid;
    ELSIF c.classid = 'pg_rewrite'::regclass THEN
      SELECT r.ev_class INTO affected FROM pg_rewrite r WHERE r.oid = c.objid;
    END IF;
    BEGIN
      IF affected IS NOT NULL AND affected <> 0 THEN
        PERFORM tidemark.record_table(c.command_tag, affected);
        IF c.command_tag = 'ALTER TABLE' AND EXISTS (SELECT FROM pg_class p WHERE p.oid = affected AND p.relkind = 'p') THEN
          -- DETACH names the parent alone: tables whose latest record still says that they are a partition.
          FOR affected IN
            SELECT r.oid FROM pg_class r JOIN LATERAL (SELECT d.facts FROM tidemark.ddl d WHERE d.oid = r.oid AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1) latest ON true
             WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition AND r.oid >= 16384 AND latest.facts::jsonb ->> 'partitionBound' IS NOT NULL
          LOOP
            PERFORM tidemark.record_table(c.command_tag, affected);
          END LOOP;
        END IF;
      ELSIF c.object_type = 'sequence' THEN
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) SELECT pg_current_xact_id()::text, c.command_tag, 'sequence', c.objid, f::text
          FROM tidemark.sequence_facts(c.objid) f WHERE NOT (f ->> 'identity')::boolean;
      ELSIF c.classid = 'pg_type'::regclass THEN
        PERFORM tidemark.record_type(c.command_tag, c.objid);
      ELSIF c.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class r WHERE r.oid = c.objid AND r.relkind = 'c') THEN
        PERFORM tidemark.record_type(c.command_tag, (SELECT r.reltype FROM pg_class r WHERE r.oid = c.objid));
      ELSIF c.classid = 'pg_namespace'::regclass AND c.command_tag = 'ALTER SCHEMA' THEN
        -- A renamed schema renames every table in it.
        FOR affected IN SELECT r.oid FROM pg_class r WHERE r.relnamespace = c.objid AND r.relkind IN ('r', 'p') LOOP
          PERFORM tidemark.record_table(c.command_tag, affected);
        END LOOP;
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, c.command_tag, 'other', c.objid, jsonb_build_object('type', c.object_type, 'identity', c.object_identity)::text);
      ELSE
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, c.command_tag, 'other', c.objid, jsonb_build_object('type', c.object_type, 'identity', c.object_identity)::text);
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

CREATE FUNCTION tidemark.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
  d record;
  one oid;
  index_dropped boolean := false;
BEGIN
  FOR d IN SELECT classid, objid, objsubid, object_type, object_identity, schema_name, address_names, is_temporary FROM pg_event_trigger_dropped_objects() LOOP
    CONTINUE WHEN d.is_temporary OR d.schema_name IN ('tidemark', 'pg_toast');
    BEGIN
      IF d.object_type = 'table column' THEN
        PERFORM tidemark.record_table(tg_tag, d.objid);
      ELSIF d.object_type = 'table constraint' THEN
        SELECT c.oid INTO one FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = d.address_names[1] AND c.relname = d.address_names[2];
        IF FOUND THEN PERFORM tidemark.record_table(tg_tag, one); END IF;
      ELSIF d.object_type IN ('table', 'index', 'type', 'sequence', 'view', 'materialized view', 'function', 'procedure', 'trigger', 'schema', 'policy', 'rule') THEN
        index_dropped := index_dropped OR d.object_type = 'index';
        INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, tg_tag, 'drop', d.objid,
          jsonb_build_object('type', d.object_type, 'identity', d.object_identity, 'names', to_jsonb(d.address_names))::text);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  IF index_dropped THEN
    FOR one IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND c.relreplident = 'i' AND pg_get_replica_identity_index(c.oid) IS NULL LOOP
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
CREATE FUNCTION tidemark.on_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, oid, facts) VALUES (pg_current_xact_id()::text, tg_tag, 'rewrite', pg_event_trigger_table_rewrite_oid(),
    jsonb_build_object('reason', pg_event_trigger_table_rewrite_reason(),
      -- Only text that shows the whole command can show that it has no USING: nothing that calls further code.
      'plain', current_query() ~* '\malter\s+table\M' AND current_query() !~* '\m(using|do|call|select|execute|perform)\M',
      -- The catalog already shows the new columns; the table's latest record has the old ones.
      'before', (SELECT d.facts::jsonb -> 'columns' FROM tidemark.ddl d WHERE d.oid = pg_event_trigger_table_rewrite_oid() AND d.kind = 'table' ORDER BY d.id DESC LIMIT 1))::text);
EXCEPTION WHEN OTHERS THEN
  NULL;
END
$$;

REVOKE ALL ON FUNCTION tidemark.on_ddl() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_drop() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_rewrite() FROM PUBLIC;
CREATE EVENT TRIGGER tidemark_ddl ON ddl_command_end EXECUTE FUNCTION tidemark.on_ddl();
CREATE EVENT TRIGGER tidemark_drop ON sql_drop EXECUTE FUNCTION tidemark.on_drop();
CREATE EVENT TRIGGER tidemark_rewrite ON table_rewrite EXECUTE FUNCTION tidemark.on_rewrite();
ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_rewrite ENABLE ALWAYS;
CREATE PUBLICATION {{publication}} FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);
INSERT INTO tidemark.installation (stream, publication, slot, mode) VALUES ('{{stream}}', '{{publication}}', '{{publication}}', 'triggers');
-- How every table stands now: what the first rewrite of each compares with.
INSERT INTO tidemark.ddl (xid, command, kind, oid, facts, columns)
SELECT pg_current_xact_id()::text, 'INIT', 'table', c.oid, tidemark.table_facts(c.oid)::text, tidemark.fingerprint(c.oid, (SELECT mode = 'polling' FROM tidemark.installation))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark');
INSERT INTO tidemark.ddl (xid, command, kind, oid, facts)
SELECT pg_current_xact_id()::text, 'INIT', 'type', t.oid, tidemark.type_facts(t.oid)::text
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class r ON r.oid = t.typrelid
 WHERE t.typtype IN ('e', 'c') AND (t.typrelid = 0 OR r.relkind = 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark');
