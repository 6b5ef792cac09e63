-- What version 3 of the installation put into a source, as one script: the upgrade is tried on it. Never made again.
-- What Tidemark puts into a source: one schema, owned by the installing administrator. `tidemark uninstall` removes it.
--
-- Safety: everything here is owned by the administrator, never by Tidemark's role (whoever owns a trigger function runs
-- as the administrator at the next DDL). The functions pin their search_path with pg_temp last (left out, it comes first,
-- and a temporary view of the user's would run as the administrator), name every relation with its schema, and execute
-- only identifiers quoted by format('%I'). Nobody but the owner may write the tables, so a record cannot be
-- forged. A failure inside a trigger function is swallowed: the user's DDL never fails because of us.

CREATE SCHEMA tidemark;
REVOKE ALL ON SCHEMA tidemark FROM PUBLIC;

-- Written inside the user's transaction: one row for what a DDL command names, and one for each object that it reached
-- beyond that. `class` and `oid` say which object of which catalog; the kind says what the facts are.
CREATE TABLE tidemark.ddl (
  -- Where the WAL stood: orders the records of one object, which commands reach one after another. A sequence would
  -- change what lastval() says in the user's session.
  id      bigint NOT NULL DEFAULT ((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint),
  xid     text NOT NULL,
  command text NOT NULL,
  kind    text NOT NULL,
  oid     bigint,
  facts   text,
  -- Of tables: tidemark.shapes() then. Compared with the catalog as it is, it shows what no record tells.
  columns text,
  class   text,
  -- Of tables: what it is a partition or a child of.
  parent  bigint,
  PRIMARY KEY (id, xid)
);
CREATE INDEX ddl_by_object ON tidemark.ddl (oid, id);
CREATE INDEX ddl_by_parent ON tidemark.ddl (parent) WHERE parent IS NOT NULL;
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
-- Replica identities that Tidemark gave: taken back once the table has a key, and by `tidemark uninstall`.
CREATE TABLE tidemark.identity (
  oid          bigint PRIMARY KEY,
  -- As in pg_class.relreplident: what Tidemark gave, and what the table had before.
  given        text NOT NULL,
  before       text NOT NULL,
  before_index text
);
-- Tables, as schema.table, whose FULL something else rests on: it stays although a key would serve.
CREATE TABLE tidemark.identity_kept (
  name text PRIMARY KEY
);
REVOKE ALL ON ALL TABLES IN SCHEMA tidemark FROM PUBLIC;
-- Which installation this is: the program refuses one of another version, and `init --upgrade` replaces an older one.
CREATE OR REPLACE FUNCTION tidemark.version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 3 $$;
-- A table as the catalog has it: enough to carry rows over a change of its columns, and to make it again.
-- In PL/pgSQL, which plans it once in a session: planning costs many times what reading one table does.
CREATE OR REPLACE FUNCTION tidemark.table_facts(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
AS $$
BEGIN
RETURN (SELECT jsonb_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
  'owner', pg_catalog.pg_get_userbyid(c.relowner), 'replicaIdentity', c.relreplident, 'options', to_jsonb(c.reloptions),
  'toastOptions', (SELECT to_jsonb(o.reloptions) FROM pg_catalog.pg_class o WHERE o.oid = c.reltoastrelid),
  'acl', to_jsonb(c.relacl::text[]), 'aclDefault', CASE WHEN c.relacl IS NOT NULL THEN to_jsonb(acldefault('r', c.relowner)::text[]) END,
  'rowSecurity', c.relrowsecurity, 'forceRowSecurity', c.relforcerowsecurity,
  'accessMethod', (SELECT am.amname FROM pg_catalog.pg_am am WHERE am.oid = c.relam),
  'ofType', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
  'extension', (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass),
  'partitionKey', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
  'partitionBound', CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END,
  'parents', (SELECT jsonb_agg(jsonb_build_object('schema', pn.nspname, 'name', p.relname) ORDER BY i.inhseqno)
                FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
               WHERE i.inhrelid = c.oid),
  -- Whether INHERITS would give the columns in the order that they have.
  'inheritsInOrder', CASE WHEN NOT c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) THEN
     (WITH given AS (SELECT a.attname, row_number() OVER (ORDER BY min(i.inhseqno * 2000 + a.attnum)) AS place
                       FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhparent AND a.attnum > 0 AND NOT a.attisdropped WHERE i.inhrelid = c.oid GROUP BY a.attname),
           own AS (SELECT a.attname, row_number() OVER (ORDER BY a.attnum) AS place FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
      SELECT NOT EXISTS (SELECT FROM given g LEFT JOIN own o ON o.place = g.place WHERE o.attname IS DISTINCT FROM g.attname)) END,
  'keyColumns', COALESCE((SELECT jsonb_agg(a.attname ORDER BY k.place)
                  FROM pg_catalog.pg_index x CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 WHERE x.indexrelid = pg_catalog.pg_get_replica_identity_index(c.oid) AND k.place <= x.indnkeyatts AND c.relreplident <> 'f'), '[]'),
  'identityIndex', (SELECT ic.relname FROM pg_catalog.pg_class ic WHERE ic.oid = pg_catalog.pg_get_replica_identity_index(c.oid)),
  'columns', COALESCE((SELECT jsonb_agg(jsonb_build_object(
       'attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
       'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
       'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       'hasMissing', a.atthasmissing, 'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
       'collation', CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END,
       'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END,
       'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END,
       'statistics', CASE WHEN COALESCE(a.attstattarget, -1) >= 0 THEN a.attstattarget END,
       'options', to_jsonb(a.attoptions), 'acl', to_jsonb(a.attacl::text[]),
       'local', a.attislocal,
       'sequence', (SELECT jsonb_build_object('schema', sn.nspname, 'name', sc.relname, 'start', s.seqstart::text, 'increment', s.seqincrement::text,
                          'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
                          'acl', to_jsonb(sc.relacl::text[]), 'aclDefault', CASE WHEN sc.relacl IS NOT NULL THEN to_jsonb(acldefault('s', sc.relowner)::text[]) END,
                          'comment', obj_description(sc.oid, 'pg_class'), 'persistence', sc.relpersistence)
                     FROM pg_catalog.pg_depend dep JOIN pg_catalog.pg_class sc ON sc.oid = dep.objid AND sc.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
                     JOIN pg_catalog.pg_sequence s ON s.seqrelid = sc.oid
                    WHERE dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refobjid = a.attrelid
                      AND dep.refobjsubid = a.attnum AND dep.deptype = 'i' AND a.attidentity <> '')
     ) ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'constraints', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
       'index', (SELECT ic.relname FROM pg_catalog.pg_class ic WHERE ic.oid = k.conindid AND k.contype IN ('p', 'u', 'x')),
       'inherited', k.coninhcount > 0 AND NOT k.conislocal, 'hasParent', k.conparentid <> 0,
       'clustered', EXISTS (SELECT FROM pg_catalog.pg_index cx WHERE cx.indexrelid = k.conindid AND cx.indrelid = c.oid AND cx.indisclustered),
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = k.conindid AND k.contype IN ('p', 'u', 'x'))
     ) ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'), '[]'),
  -- 18 and newer: what a bare NOT NULL would not give.
  'notNulls', (SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'name', k.conname, 'noInherit', k.connoinherit, 'valid', k.convalidated, 'local', k.conislocal,
       'validBeforeParent', k.convalidated AND EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_constraint pk ON pk.conrelid = i.inhparent AND pk.contype = 'n' AND NOT pk.convalidated JOIN pg_catalog.pg_attribute pa ON pa.attrelid = pk.conrelid AND pa.attnum = pk.conkey[1] WHERE i.inhrelid = c.oid AND pa.attname = a.attname)) ORDER BY a.attnum)
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.conrelid = c.oid AND k.contype = 'n' AND (k.conname <> c.relname || '_' || a.attname || '_not_null' OR k.connoinherit OR NOT k.convalidated OR a.attislocal <> k.conislocal)),
  'indexes', COALESCE((SELECT jsonb_agg(jsonb_build_object('schema', xn.nspname, 'name', xc.relname, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid),
       'clustered', x.indisclustered, 'identity', x.indisreplident,
       'statistics', (SELECT jsonb_agg(jsonb_build_object('column', a.attnum, 'target', a.attstattarget) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0),
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = x.indexrelid)
     ) ORDER BY xc.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_namespace xn ON xn.oid = xc.relnamespace
    WHERE x.indrelid = c.oid AND (x.indisvalid OR xc.relkind = 'I')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))), '[]'),
  'triggers', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'definition', pg_catalog.pg_get_triggerdef(g.oid), 'enabled', g.tgenabled) ORDER BY g.tgname)
     FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgparentid = 0), '[]'),
  -- Triggers of a partition that are on or off otherwise than the one of its parent.
  'triggerStates', (SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'enabled', g.tgenabled) ORDER BY g.tgname)
     FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_trigger pg ON pg.oid = g.tgparentid WHERE g.tgrelid = c.oid AND NOT pg.tgisinternal AND g.tgenabled <> pg.tgenabled),
  'rules', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', r.rulename, 'definition', pg_catalog.pg_get_ruledef(r.oid), 'enabled', r.ev_enabled) ORDER BY r.rulename)
     FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '[]'),
  'policies', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive,
       'roles', (SELECT jsonb_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END) FROM unnest(p.polroles) AS r(oid)),
       'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
     FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid), '[]'),
  'comments', COALESCE((SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'text', ds.description) ORDER BY ds.objsubid)
     FROM pg_catalog.pg_description ds LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = ds.objoid AND a.attnum = ds.objsubid AND ds.objsubid > 0
    WHERE ds.objoid = c.oid AND ds.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass), '[]'),
  -- Comments on its parts. An index has its own schema in front; the others' names are of the table.
  'partComments', (SELECT jsonb_agg(jsonb_build_object('kind', part.kind, 'name', part.name, 'text', ds.description) ORDER BY part.kind, part.name)
     FROM (SELECT 'CONSTRAINT' AS kind, 'pg_catalog.pg_constraint'::pg_catalog.regclass AS class, k.oid, k.conname::text AS name FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid
           UNION ALL SELECT 'INDEX', 'pg_catalog.pg_class'::pg_catalog.regclass, x.indexrelid, ic.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = c.oid
           UNION ALL SELECT 'TRIGGER', 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
           UNION ALL SELECT 'RULE', 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, r.rulename FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid
           UNION ALL SELECT 'POLICY', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polname FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid) part
     JOIN pg_catalog.pg_description ds ON ds.classoid = part.class AND ds.objoid = part.oid AND ds.objsubid = 0),
  -- Of before 'acl': empty, and read where an older record has it.
  'grants', '[]'::jsonb
) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.table_facts(oid) FROM PUBLIC;

-- What values of a composite type look like: of each attribute `number:type:modifier:name`.
CREATE OR REPLACE FUNCTION tidemark.attribute_shape(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.atttypmod, a.attname), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;
REVOKE ALL ON FUNCTION tidemark.attribute_shape(oid) FROM PUBLIC;

-- A type as the catalog has it.
CREATE OR REPLACE FUNCTION tidemark.type_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', t.oid::bigint, 'schema', n.nspname, 'name', t.typname, 'type', t.typtype, 'owner', pg_catalog.pg_get_userbyid(t.typowner),
  'acl', to_jsonb(t.typacl::text[]), 'aclDefault', CASE WHEN t.typacl IS NOT NULL THEN to_jsonb(acldefault('T', t.typowner)::text[]) END,
  'comment', obj_description(t.oid, 'pg_type'),
  'labels', (SELECT jsonb_agg(jsonb_build_object('oid', e.oid::bigint, 'label', e.enumlabel) ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
  'notNull', t.typnotnull, 'default', t.typdefault,
  'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = t.typcollation) END,
  'constraints', (SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid), 'valid', k.convalidated, 'comment', obj_description(k.oid, 'pg_constraint')) ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype IN ('c', 'n')),
  'attributes', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped),
  -- An attribute that is dropped and made again by the same name is another one: stored rows have no value for it.
  'attributeShape', tidemark.attribute_shape(t.typrelid),
  -- Apart from the attributes: a change of those says that stored rows look otherwise.
  'attributeDetails', (SELECT jsonb_agg(d) FROM (SELECT a.attname AS name, col_description(a.attrelid, a.attnum) AS comment,
       (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_type at JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE at.oid = a.atttypid AND a.attcollation <> at.typcollation) AS collation
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped) d WHERE d.comment IS NOT NULL OR d.collation IS NOT NULL),
  'subtype', (SELECT jsonb_build_object('type', format_type(r.rngsubtype, NULL), 'opclass', (SELECT format('%I.%I', on_.nspname, oc.opcname) FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_namespace on_ ON on_.oid = oc.opcnamespace WHERE oc.oid = r.rngsubopc AND NOT oc.opcdefault),
       'collation', (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_type st JOIN pg_catalog.pg_collation co ON co.oid = r.rngcollation JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE st.oid = r.rngsubtype AND r.rngcollation <> st.typcollation),
       'diff', CASE WHEN r.rngsubdiff <> 0 THEN (SELECT format('%I.%I', fn.nspname, f.proname) FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = r.rngsubdiff) END,
       'canonical', CASE WHEN r.rngcanonical <> 0 THEN (SELECT format('%I.%I', fn.nspname, f.proname) FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = r.rngcanonical) END,
       'multirange', (SELECT format('%I.%I', mn.nspname, m.typname) FROM pg_catalog.pg_type m JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = r.rngmultitypid))
      FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype WHERE t.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.type_facts(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.sequence_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'owner', pg_catalog.pg_get_userbyid(c.relowner), 'type', format_type(s.seqtypid, NULL),
  'persistence', c.relpersistence, 'comment', obj_description(c.oid, 'pg_class'), 'acl', to_jsonb(c.relacl::text[]), 'aclDefault', CASE WHEN c.relacl IS NOT NULL THEN to_jsonb(acldefault('s', c.relowner)::text[]) END,
  'start', s.seqstart::text, 'increment', s.seqincrement::text, 'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
  'identity', EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i'),
  'ownedBy', (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
                JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.sequence_facts(oid) FROM PUBLIC;
-- Replica identities. Published without one that serves, the application's own UPDATE and DELETE would fail (hazard 33).
-- What is given is remembered, so that it can be taken back: once the table has a key, and by `tidemark uninstall`.

-- What the identity of a table is and what it could be. Reads the catalog alone: waits for no lock, and nobody waits for it.
--   key     a primary key that serves: not deferrable, and no generated column in it (the stream would have half a key)
--   index   a unique index over columns that are NOT NULL that serves
--   whole   FULL serves: from PostgreSQL 18 on it does not where the table has generated columns
--   serves  the identity that the table has now is whole in the stream
--   fails   published as it is, UPDATE and DELETE fail
CREATE OR REPLACE FUNCTION tidemark.identity_of(wanted oid, OUT current text, OUT key boolean, OUT index name, OUT whole boolean, OUT serves boolean, OUT fails boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
WITH usable AS (
  SELECT ic.relname AS name, x.indisprimary, x.indisreplident, x.indnkeyatts,
         bool_and(a.attnotnull) AS filled, bool_and(a.attgenerated = '') AS plain
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
    CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
   WHERE x.indrelid = wanted AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND k.place <= x.indnkeyatts
   GROUP BY x.indexrelid, ic.relname, x.indisprimary, x.indisreplident, x.indnkeyatts
), seen AS (
  SELECT c.relreplident::text AS current,
         -- Up to PostgreSQL 17 half a key does not fail; it is only of no use.
         current_setting('server_version_num')::int >= 180000 AS strict,
         current_setting('server_version_num')::int < 180000
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '') AS whole,
         (SELECT bool_or(u.plain) FROM usable u WHERE c.relreplident = 'd' AND u.indisprimary OR c.relreplident = 'i' AND u.indisreplident) AS plain
    FROM pg_catalog.pg_class c WHERE c.oid = wanted
)
SELECT s.current,
       EXISTS (SELECT FROM usable u WHERE u.indisprimary AND u.plain),
       (SELECT u.name FROM usable u WHERE u.filled AND u.plain ORDER BY u.indnkeyatts, u.name LIMIT 1),
       s.whole,
       CASE WHEN s.current = 'f' THEN s.whole ELSE COALESCE(s.plain, false) END,
       CASE WHEN s.current = 'f' THEN NOT s.whole WHEN s.strict THEN s.plain IS NOT TRUE ELSE s.plain IS NULL END
  FROM seen s
$$;
REVOKE ALL ON FUNCTION tidemark.identity_of(oid) FROM PUBLIC;

-- Which identity a table is to get: d, i, f, or NULL where none serves and the table has to be left out. An index can be
-- dropped like any other; where no event trigger sees that, FULL comes before it.
CREATE OR REPLACE FUNCTION tidemark.identity_for(wanted oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN i.key THEN 'd'
            WHEN i.index IS NOT NULL AND (NOT i.whole OR (SELECT mode <> 'polling' FROM tidemark.installation)) THEN 'i'
            WHEN i.whole THEN 'f' END
  FROM tidemark.identity_of(wanted) i
$$;
REVOKE ALL ON FUNCTION tidemark.identity_for(oid) FROM PUBLIC;

-- Whether the table has an identity of ours that its key makes needless. FULL makes every UPDATE and DELETE write the whole row.
CREATE OR REPLACE FUNCTION tidemark.identity_is_needless(wanted oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT COALESCE((SELECT i.key FROM tidemark.identity_of(wanted) i), false)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN tidemark.identity g ON g.oid = c.oid::bigint
 WHERE c.oid = wanted AND c.relreplident IN ('f', 'i') AND g.given = c.relreplident::text
   AND NOT EXISTS (SELECT FROM tidemark.identity_kept k WHERE k.name = n.nspname || '.' || c.relname)
$$;
REVOKE ALL ON FUNCTION tidemark.identity_is_needless(oid) FROM PUBLIC;

-- Gives an identity, and remembers what was before. Waits a moment at most: whoever waits for this lock holds up every
-- reader that comes behind.
CREATE OR REPLACE FUNCTION tidemark.set_identity(wanted oid, target text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  one record;
BEGIN
  SELECT n.nspname, c.relname, c.relreplident::text AS current, (tidemark.identity_of(c.oid)).index AS index,
         (SELECT ic.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i') AS current_index
    INTO one FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY %s', one.nspname, one.relname,
    CASE target WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' ELSE format('USING INDEX %I', one.index) END);
  -- Where the table still has what Tidemark gave last, what was before that counts; else its owner has chosen anew.
  INSERT INTO tidemark.identity AS g (oid, given, before, before_index) VALUES (wanted, target, one.current, one.current_index)
    ON CONFLICT (oid) DO UPDATE SET given = EXCLUDED.given,
      before = CASE WHEN g.given = EXCLUDED.before THEN g.before ELSE EXCLUDED.before END,
      before_index = CASE WHEN g.given = EXCLUDED.before THEN g.before_index ELSE EXCLUDED.before_index END;
  DELETE FROM tidemark.identity g WHERE g.oid = wanted AND g.given = g.before AND g.given <> 'i';
END
$$;
REVOKE ALL ON FUNCTION tidemark.set_identity(oid, text) FROM PUBLIC;

-- Called inside the user's own command, for each table that it touched. In a repair, which is no user's, tend_identity sees
-- to identities instead: one table a transaction, so that no lock is held for long.
CREATE OR REPLACE FUNCTION tidemark.ensure_identity(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target text;
BEGIN
  IF current_setting('tidemark.repairing', true) = 'on' OR NOT tidemark.is_streamed(wanted) THEN
    RETURN;
  END IF;
  IF NOT (SELECT i.serves FROM tidemark.identity_of(wanted) i) THEN
    target := tidemark.identity_for(wanted);
  ELSIF tidemark.identity_is_needless(wanted)
    -- Only under the lock that the command holds already: another would stay until the user's transaction ends.
    AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.relation = wanted AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) THEN
    target := 'd';
  END IF;
  IF target IS NOT NULL THEN
    PERFORM tidemark.set_identity(wanted, target);
  END IF;
EXCEPTION WHEN OTHERS THEN
  -- Locked, most likely: tend_identity tries again. What the command did is recorded all the same.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_identity(oid) FROM PUBLIC;
-- Which tables the publication has. It is one of all tables where that can be; a list of tables where the role may not make
-- the other kind, or where one table has no identity that serves: only a list can leave it out.

-- Whether rows of the table belong into the stream: a permanent table of the user's with rows of its own.
CREATE OR REPLACE FUNCTION tidemark.is_streamed(wanted oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid = wanted AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast'))
$$;
REVOKE ALL ON FUNCTION tidemark.is_streamed(oid) FROM PUBLIC;

-- A list publishes a partition with any of its ancestors.
CREATE OR REPLACE FUNCTION tidemark.published_as(wanted oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
WITH RECURSIVE line(oid) AS (
  SELECT wanted UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN line l ON i.inhrelid = l.oid JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
SELECT l.oid FROM line l JOIN pg_catalog.pg_publication_rel r ON r.prrelid = l.oid JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
 WHERE p.pubname = (SELECT publication FROM tidemark.installation)
$$;
REVOKE ALL ON FUNCTION tidemark.published_as(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.publishes_all() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT COALESCE((SELECT p.puballtables FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation)), false) $$;
REVOKE ALL ON FUNCTION tidemark.publishes_all() FROM PUBLIC;

-- Makes the publication anew as a list of every table whose UPDATE and DELETE work under it. In one transaction: whoever reads
-- the stream sees the old one up to here and the new one from here.
CREATE OR REPLACE FUNCTION tidemark.publish_list() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted name := (SELECT i.publication FROM tidemark.installation i);
  tables text;
BEGIN
  SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname) INTO tables
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = 'tidemark' AND c.relname IN ('ddl', 'marker', 'installation')
      OR CASE WHEN tidemark.is_streamed(c.oid) THEN NOT (SELECT i.fails FROM tidemark.identity_of(c.oid) i) END;
  EXECUTE format('DROP PUBLICATION IF EXISTS %I', wanted);
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish = ''insert, update, delete, truncate'', publish_via_partition_root = false)', wanted, tables);
END
$$;
REVOKE ALL ON FUNCTION tidemark.publish_list() FROM PUBLIC;

-- The publication of a new installation.
CREATE OR REPLACE FUNCTION tidemark.publish(may_all boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- A publication of all tables can leave none out.
  IF may_all AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE tidemark.is_streamed(c.oid) AND (SELECT i.fails FROM tidemark.identity_of(c.oid) i)) THEN
    EXECUTE format('CREATE PUBLICATION %I FOR ALL TABLES WITH (publish = ''insert, update, delete, truncate'', publish_via_partition_root = false)', (SELECT publication FROM tidemark.installation));
  ELSE
    PERFORM tidemark.publish_list();
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.publish(boolean) FROM PUBLIC;

-- The table's place in the publication, inside the user's own command. The record of the command gets the name that is
-- returned, if any: `LEAVE OUT` and `REPAIR` stand for a gap, because rows of the table may have passed unseen.
CREATE OR REPLACE FUNCTION tidemark.ensure_published(wanted oid, tag text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  state record;
  one record;
BEGIN
  IF current_setting('tidemark.repairing', true) = 'on' OR (SELECT mode = 'polling' FROM tidemark.installation) OR NOT tidemark.is_streamed(wanted) THEN
    RETURN NULL;
  END IF;
  SELECT i.serves, i.fails, n.nspname, c.relname, s.publication INTO state
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN tidemark.identity_of(wanted) i CROSS JOIN tidemark.installation s WHERE c.oid = wanted;
  IF tidemark.publishes_all() THEN
    IF state.fails AND tidemark.identity_for(wanted) IS NULL THEN
      PERFORM tidemark.publish_list();
      RETURN 'LEAVE OUT';
    END IF;
  ELSIF NOT EXISTS (SELECT FROM tidemark.published_as(wanted)) THEN
    IF state.serves THEN
      EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', state.publication, state.nspname, state.relname);
      -- Only a table that is new and empty has no rows that passed before.
      RETURN CASE WHEN tag <> 'CREATE TABLE' THEN 'REPAIR' END;
    ELSIF tag LIKE 'CREATE TABLE%' OR tag = 'SELECT INTO' THEN
      RETURN 'LEAVE OUT';
    END IF;
  ELSIF state.fails THEN
    FOR one IN SELECT n.nspname, c.relname FROM tidemark.published_as(wanted) a JOIN pg_catalog.pg_class c ON c.oid = a JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LOOP
      EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', state.publication, one.nspname, one.relname);
    END LOOP;
    RETURN 'LEAVE OUT';
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  -- tend_identity tries again.
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_published(oid, text) FROM PUBLIC;
-- What rows of each table look like, as text of three fields: the table's file; its name, kind and identity; and of every
-- column that it ever had `number:type:modifier:generated:name:xmin`, where names are hashed and the xmin is that of the
-- row of pg_attribute. `parent` is what the table hangs on.
CREATE OR REPLACE FUNCTION tidemark.shapes(wanted oid[]) RETURNS TABLE(id oid, parent oid, shape text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN QUERY
  SELECT c.oid, (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1),
         concat_ws('|', c.relfilenode, md5(concat_ws('|', n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident)), COALESCE(own.columns, ''))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
      SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.atttypmod, a.attgenerated, CASE WHEN NOT a.attisdropped THEN left(md5(a.attname), 8) ELSE '' END, a.xmin), ',' ORDER BY a.attnum) AS columns
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) own
   WHERE c.oid = ANY (wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.shapes(oid[]) FROM PUBLIC;

-- Whether two shapes stand for different rows: all but the file and the xmins.
CREATE OR REPLACE FUNCTION tidemark.differs(before text, after text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT split_part(before, '|', 2) <> split_part(after, '|', 2)
      OR regexp_replace(split_part(before, '|', 3), ':\d+(,|$)', '\1', 'g') <> regexp_replace(split_part(after, '|', 3), ':\d+(,|$)', '\1', 'g')
$$;
REVOKE ALL ON FUNCTION tidemark.differs(text, text) FROM PUBLIC;

-- Whether values may have been rewritten between two shapes: another file, and a row of pg_attribute that was there is
-- another one. TRUNCATE, VACUUM FULL and CLUSTER change the file alone. With `below` only rows of pg_attribute count that
-- were written by transactions before that one.
CREATE OR REPLACE FUNCTION tidemark.rewritten(before text, after text, below xid DEFAULT NULL) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT split_part(before, '|', 1) <> split_part(after, '|', 1) AND EXISTS (
    SELECT FROM string_to_table(split_part(before, '|', 3), ',') b JOIN string_to_table(split_part(after, '|', 3), ',') a ON split_part(a, ':', 1) = split_part(b, ':', 1)
     WHERE split_part(a, ':', 6) <> split_part(b, ':', 6) AND split_part(a, ':', 2) <> '0' AND (below IS NULL OR age(split_part(a, ':', 6)::xid) > age(below)))
$$;
REVOKE ALL ON FUNCTION tidemark.rewritten(text, text, xid) FROM PUBLIC;

-- Whether something happened to a table that no record tells and that the one which is made now would hide: a column that
-- another transaction than this one made into what it is, or rows that were rewritten without a record of it.
CREATE OR REPLACE FUNCTION tidemark.untold(wanted oid, after text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  own xid := pg_catalog.pg_current_xact_id()::xid;
  latest record;
BEGIN
  SELECT d.id, d.columns INTO latest FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1;
  IF NOT FOUND OR latest.columns NOT LIKE '%|%|%' OR latest.columns = after THEN
    RETURN false;
  END IF;
  IF EXISTS (SELECT FROM string_to_table(split_part(after, '|', 3), ',') a
              WHERE age(split_part(a, ':', 6)::xid) > age(own)
                AND NOT EXISTS (SELECT FROM string_to_table(split_part(latest.columns, '|', 3), ',') b
                                 WHERE regexp_replace(b, ':\d+$', '') = regexp_replace(a, ':\d+$', ''))) THEN
    RETURN true;
  END IF;
  RETURN tidemark.rewritten(latest.columns, after,
           -- This command's own changes explain themselves, unless the file is of this transaction as well.
           CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = wanted AND age(c.xmin) <= age(own)) THEN own END)
     AND NOT EXISTS (SELECT FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.kind = 'rewrite' AND d.id > latest.id);
END
$$;
REVOKE ALL ON FUNCTION tidemark.untold(oid, text) FROM PUBLIC;

-- Records one table as it stands. With the command REPAIR where something before it has no record.
CREATE OR REPLACE FUNCTION tidemark.record_one(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  said text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = wanted AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')) THEN
    RETURN;
  END IF;
  PERFORM tidemark.ensure_identity(wanted);
  said := COALESCE(tidemark.ensure_published(wanted, tag), tag);
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
  SELECT pg_catalog.pg_current_xact_id()::text, CASE WHEN tidemark.untold(wanted, s.shape) THEN 'REPAIR' ELSE said END, 'table', 'pg_class', wanted, s.parent, tidemark.table_facts(wanted)::text, s.shape
    FROM tidemark.shapes(ARRAY[wanted]) s;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_one(text, oid) FROM PUBLIC;

-- Records what a command at a table did to those that inherit from it: of each one that it reached, the parts that this
-- transaction wrote and no more. Whole facts of hundreds of partitions would take longer than the command.
CREATE OR REPLACE FUNCTION tidemark.record_descendants(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC' SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
AS $$
DECLARE
  own xid := pg_catalog.pg_current_xact_id()::xid;
  known bigint[];
  reached oid[];
  one oid;
BEGIN
  WITH RECURSIVE family(oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
  SELECT array_agg(f.oid) INTO reached FROM family f
   WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = f.oid AND a.attnum > 0 AND age(a.xmin) <= age(own))
      OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = f.oid AND age(k.xmin) <= age(own))
      OR EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = f.oid AND age(x.xmin) <= age(own))
      OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = f.oid AND age(g.xmin) <= age(own));
  IF reached IS NULL THEN
    RETURN;
  END IF;
  -- Without a record of its own, hung somewhere else since, or with an identity to see to: as a whole.
  FOR one IN
    SELECT c.oid FROM pg_catalog.pg_class c
      LEFT JOIN LATERAL (SELECT d.parent FROM tidemark.ddl d WHERE d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest ON true
     WHERE c.oid = ANY (reached) AND latest.parent IS DISTINCT FROM (SELECT i.inhparent::bigint FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1)
        OR c.oid = ANY (reached) AND c.relkind = 'r' AND (c.relreplident <> 'd' OR pg_catalog.pg_get_replica_identity_index(c.oid) IS NULL)
  LOOP
    PERFORM tidemark.record_one(tag, one);
    reached := array_remove(reached, one);
  END LOOP;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
  SELECT pg_catalog.pg_current_xact_id()::text,
         CASE WHEN quiet.since >= age(latest.xid::xid8::xid) THEN tag WHEN tidemark.untold(c.oid, s.shape) THEN 'REPAIR' ELSE tag END,
         'descendant', 'pg_class', c.oid, s.parent,
         json_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'replicaIdentity', c.relreplident,
           'columns', (SELECT json_agg(json_build_object('attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
                'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
                'default', CASE WHEN a.atthasdef THEN (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
                'hasMissing', a.atthasmissing, 'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
                'collation', CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END,
                'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END, 'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END,
                'statistics', CASE WHEN COALESCE(a.attstattarget, -1) >= 0 THEN a.attstattarget END, 'local', a.attislocal))
              FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND age(a.xmin) <= age(own)),
           'keyColumns', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND (x.indisprimary OR x.indisreplident) AND age(x.xmin) <= age(own)) THEN
              COALESCE((SELECT json_agg(a.attname ORDER BY k.place) FROM pg_catalog.pg_index x CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                WHERE x.indexrelid = pg_catalog.pg_get_replica_identity_index(c.oid) AND k.place <= x.indnkeyatts AND c.relreplident <> 'f'), '[]') END,
           'gone', (SELECT json_agg(a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attisdropped AND age(a.xmin) <= age(own)),
           'constraints', (SELECT json_agg(json_build_object('name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
                'index', (SELECT ic.relname FROM pg_catalog.pg_class ic WHERE ic.oid = k.conindid AND k.contype IN ('p', 'u', 'x')),
                'inherited', k.coninhcount > 0 AND NOT k.conislocal, 'hasParent', k.conparentid <> 0,
                'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = k.conindid AND k.contype IN ('p', 'u'))))
              FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n' AND (quiet.renamed OR age(k.xmin) <= age(own))),
           'indexes', (SELECT json_agg(json_build_object('schema', xn.nspname, 'name', xc.relname, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid), 'clustered', x.indisclustered, 'identity', x.indisreplident,
                'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = x.indexrelid)))
              FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_namespace xn ON xn.oid = xc.relnamespace
             WHERE x.indrelid = c.oid AND x.indisvalid AND (quiet.renamed OR age(x.xmin) <= age(own))
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))))::text,
         s.shape
    FROM tidemark.shapes(reached) s JOIN pg_catalog.pg_class c ON c.oid = s.id JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN LATERAL (SELECT d.xid, d.columns FROM tidemark.ddl d WHERE d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest ON true
    CROSS JOIN LATERAL (SELECT COALESCE(min(age(a.xmin)) FILTER (WHERE age(a.xmin) > age(own)), 2147483647) AS since,
             -- Definitions name columns: with a new name all of them read anew.
             COALESCE(bool_or(NOT a.attisdropped AND age(a.xmin) <= age(own) AND latest.columns ~ ('[|,]' || a.attnum || ':') AND position(concat(':', left(md5(a.attname), 8), ':') IN latest.columns) = 0), false) AS renamed
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) quiet;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_descendants(text, oid) FROM PUBLIC;

-- Records the tables that have values of a type whose text has changed as rewritten, so that they are read again. With
-- the command REPAIR their own records say so: the gap begins where all was well.
CREATE OR REPLACE FUNCTION tidemark.record_users(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one oid;
BEGIN
  FOR one IN
    WITH RECURSIVE users(type) AS (
      SELECT wanted
      UNION SELECT further.oid FROM users u CROSS JOIN LATERAL (
        SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typelem = u.type OR t.typbasetype = u.type
        UNION ALL SELECT r.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind IN ('c', 'r', 'p') WHERE a.atttypid = u.type) further)
    SELECT DISTINCT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT a.attisdropped AND a.atttypid IN (SELECT type FROM users) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark')
  LOOP
    IF tag <> 'REPAIR' THEN
      INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
      VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'rewrite', 'pg_class', one, jsonb_build_object('reason', 4, 'plain', false, 'before', tidemark.table_facts(one) -> 'columns')::text);
    END IF;
    PERFORM tidemark.record_one(tag, one);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_users(text, oid) FROM PUBLIC;

-- A table's columns are what values of its row type look like, in whatever table has such a value. In front of the table's
-- own record: the latest one tells what the columns were.
CREATE OR REPLACE FUNCTION tidemark.record_row_users(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  rows oid[];
  arrays oid[];
  one oid;
BEGIN
  WITH RECURSIVE family(oid) AS (SELECT wanted UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
  SELECT array_agg(c.reltype) INTO rows FROM pg_catalog.pg_class c WHERE c.oid = ANY (ARRAY(SELECT f.oid FROM family f));
  SELECT array_agg(t.typarray) INTO arrays FROM pg_catalog.pg_type t WHERE t.oid = ANY (rows);
  -- Hardly any table's row type is used: most commands end here.
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = ANY (rows || arrays) AND d.deptype = 'n'
                    AND d.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)) THEN
    RETURN;
  END IF;
  FOR one IN
    SELECT c.reltype FROM pg_catalog.pg_class c CROSS JOIN LATERAL tidemark.shapes(ARRAY[c.oid]) s
      CROSS JOIN LATERAL (SELECT d.columns FROM tidemark.ddl d WHERE d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest
     WHERE c.reltype = ANY (rows) AND latest.columns LIKE '%|%|%' AND tidemark.differs('||' || split_part(latest.columns, '|', 3), '||' || split_part(s.shape, '|', 3))
  LOOP
    PERFORM tidemark.record_users(tag, one);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_row_users(text, oid) FROM PUBLIC;

-- Records a table that a command named, and what the command did beyond it.
CREATE OR REPLACE FUNCTION tidemark.record_table(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one oid;
BEGIN
  IF tag = 'ALTER TABLE' THEN
    PERFORM tidemark.record_row_users(tag, wanted);
  END IF;
  PERFORM tidemark.record_one(tag, wanted);
  IF tag NOT LIKE 'ALTER %' AND tag NOT IN ('CREATE INDEX', 'CREATE TRIGGER', 'CREATE SCHEMA') THEN
    RETURN;
  END IF;
  PERFORM tidemark.record_descendants(tag, wanted);
  -- DETACH names the parent alone: tables that hung on this one by their latest record.
  FOR one IN
    SELECT DISTINCT c.oid FROM tidemark.ddl d JOIN pg_catalog.pg_class c ON c.oid = d.oid::oid
     WHERE d.parent = wanted::bigint AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted AND i.inhrelid = c.oid)
       AND wanted::bigint = (SELECT e.parent FROM tidemark.ddl e WHERE e.oid = c.oid::bigint AND e.columns IS NOT NULL ORDER BY e.id DESC LIMIT 1)
  LOOP
    PERFORM tidemark.record_one(tag, one);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_table(text, oid) FROM PUBLIC;

-- A renamed enum label or a changed composite type changes the text of rows that are stored.
CREATE OR REPLACE FUNCTION tidemark.record_type(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before jsonb := (SELECT d.facts::jsonb FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.kind = 'type' ORDER BY d.id DESC LIMIT 1);
  after jsonb := tidemark.type_facts(wanted);
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'type', 'pg_type', wanted, after::text);
  IF (after ->> 'type' = 'e' AND EXISTS (SELECT FROM jsonb_array_elements(before -> 'labels') b JOIN jsonb_array_elements(after -> 'labels') a ON a -> 'oid' = b -> 'oid' WHERE a -> 'label' <> b -> 'label'))
     -- A record from before has no shape.
     OR (after ->> 'type' = 'c' AND (before -> 'attributes' <> after -> 'attributes' OR before ->> 'attributeShape' <> after ->> 'attributeShape')) THEN
    PERFORM tidemark.record_users(tag, wanted);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_type(text, oid) FROM PUBLIC;
-- What version 1 noted of a table instead of its shape: compared once, by the first repair behind an upgrade.
CREATE OR REPLACE FUNCTION tidemark.fingerprint(wanted oid, with_file boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT md5(concat_ws('|', n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, CASE WHEN with_file THEN c.relfilenode END,
         (SELECT string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated), ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.fingerprint(oid, boolean) FROM PUBLIC;

-- Whether the table's latest record tells how it is now.
CREATE OR REPLACE FUNCTION tidemark.is_recorded(wanted oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT COALESCE((
  SELECT CASE WHEN latest.columns LIKE '%|%|%' THEN NOT (tidemark.differs(latest.columns, s.shape) OR tidemark.rewritten(latest.columns, s.shape))
              ELSE latest.columns = tidemark.fingerprint(wanted, (SELECT mode = 'polling' FROM tidemark.installation)) END
    FROM tidemark.shapes(ARRAY[wanted]) s
    CROSS JOIN LATERAL (SELECT d.columns FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest), false)
$$;
REVOKE ALL ON FUNCTION tidemark.is_recorded(oid) FROM PUBLIC;

-- Records what no record tells: a failure of the recording that was swallowed, DDL under disabled event triggers, or,
-- in the mode 'polling', any DDL. Each such record stands for a gap of its table from the last time that all was well.
-- Returns the transaction in which it recorded something, and the tables for which that failed: nothing counts as checked
-- while there is one. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.repair(OUT recorded text, OUT failed text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  installed record;
  one record;
  repaired boolean := false;
BEGIN
  PERFORM set_config('tidemark.repairing', 'on', true);
  failed := '{}';
  SELECT i.publication, i.mode = 'polling' AS polling INTO installed FROM tidemark.installation i;
  FOR one IN
    SELECT c.oid AS id, n.nspname, c.relname, c.relpersistence, latest.id AS record, latest.xid, s.shape, s.parent,
           CASE WHEN latest.columns IS NULL THEN true
                WHEN latest.columns NOT LIKE '%|%|%' THEN latest.columns <> tidemark.fingerprint(c.oid, installed.polling)
                ELSE tidemark.differs(latest.columns, s.shape) OR tidemark.rewritten(latest.columns, s.shape) END AS untold
      FROM tidemark.shapes(ARRAY(SELECT t.oid FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
                                  WHERE t.relkind IN ('r', 'p') AND t.relpersistence <> 't' AND tn.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark'))) s
      JOIN pg_catalog.pg_class c ON c.oid = s.id JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (SELECT d.id, d.xid, d.columns FROM tidemark.ddl d WHERE d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest ON true
     WHERE latest.columns IS DISTINCT FROM s.shape
  LOOP
    -- A new file alone, or a change of what rows do not depend on: noted, so that it explains nothing later.
    IF NOT one.untold THEN
      UPDATE tidemark.ddl SET columns = one.shape, parent = one.parent WHERE id = one.record AND xid = one.xid;
      CONTINUE;
    END IF;
    BEGIN
      -- Without an identity that serves, the application's UPDATE and DELETE would fail: tend_identity gives one, and publishes then.
      IF installed.polling AND tidemark.is_streamed(one.id) AND (SELECT i.serves FROM tidemark.identity_of(one.id) i)
        AND NOT EXISTS (SELECT FROM tidemark.published_as(one.id)) THEN
        EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', installed.publication, one.nspname, one.relname);
      END IF;
      PERFORM tidemark.record_row_users('REPAIR', one.id);
      PERFORM tidemark.record_one('REPAIR', one.id);
      repaired := true;
    EXCEPTION WHEN OTHERS THEN
      -- Locked, or not ours to alter: said, and tried again by the next call. Gone meanwhile is no failure.
      IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = one.id) THEN
        failed := failed || format('%I.%I', one.nspname, one.relname);
      END IF;
    END;
  END LOOP;
  -- Enums and composite types: stored rows hold the text of their values.
  FOR one IN
    SELECT t.oid AS id, format('%I.%I', n.nspname, t.typname) AS name
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid
      LEFT JOIN LATERAL (SELECT d.facts::jsonb AS facts FROM tidemark.ddl d WHERE d.oid = t.oid::bigint AND d.kind = 'type' ORDER BY d.id DESC LIMIT 1) latest ON true
     WHERE t.typtype IN ('e', 'c') AND (t.typrelid = 0 OR r.relkind = 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark') AND n.nspname NOT LIKE 'pg\_temp%'
       -- Without a record, or with one from before shapes: noted, and compared from then on.
       AND (latest.facts IS NULL OR latest.facts ->> 'attributeShape' IS DISTINCT FROM tidemark.attribute_shape(r.oid) OR latest.facts -> 'labels' IS DISTINCT FROM COALESCE(
             (SELECT jsonb_agg(jsonb_build_object('oid', e.oid::bigint, 'label', e.enumlabel) ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), 'null'))
  LOOP
    BEGIN
      PERFORM tidemark.record_type('REPAIR', one.id);
      repaired := true;
    EXCEPTION WHEN OTHERS THEN
      IF EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = one.id) THEN
        failed := failed || one.name;
      END IF;
    END;
  END LOOP;
  FOR one IN
    SELECT DISTINCT ON (d.oid) d.oid AS id, d.facts::jsonb AS facts FROM tidemark.ddl d
     WHERE d.kind = 'table' AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = 'drop' AND e.id > d.id)
     ORDER BY d.oid, d.id DESC
  LOOP
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'drop', 'pg_class', one.id,
      jsonb_build_object('type', 'table', 'identity', format('%I.%I', one.facts ->> 'schema', one.facts ->> 'name'), 'names', jsonb_build_array(one.facts ->> 'schema', one.facts ->> 'name'))::text);
    repaired := true;
  END LOOP;
  recorded := CASE WHEN repaired THEN pg_catalog.pg_current_xact_id()::text END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.repair() FROM PUBLIC;

-- A transaction of ours with a row in the stream. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.touch() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ UPDATE tidemark.installation SET slot = slot $$;
REVOKE ALL ON FUNCTION tidemark.touch() FROM PUBLIC;

-- Removes the records of transactions below this one, which the backup holds durably; may be called by Tidemark's role, which has no other right to write.
CREATE OR REPLACE FUNCTION tidemark.forget(below xid8) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  -- The latest shape of each table and the latest facts of each type that is there stay: a rewrite looks up what was.
  WITH gone AS (DELETE FROM tidemark.ddl d WHERE d.xid::xid8 < below AND NOT (
         d.columns IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.columns IS NOT NULL AND e.id > d.id)
         OR d.kind = 'type' AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = d.kind AND e.id > d.id)) RETURNING 1)
  SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION tidemark.forget(xid8) FROM PUBLIC;
-- What `up` asks every few seconds: tables whose identity or place in the publication has to change. Most of it happens in the
-- event trigger, inside the user's own command; this is for what no trigger saw, and for sources without triggers.

-- Reads the catalog alone. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.identities_due() RETURNS TABLE (oid bigint, schema name, name name)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
WITH listed AS MATERIALIZED (SELECT NOT tidemark.publishes_all() AS yes),
members AS MATERIALIZED (
  SELECT r.prrelid FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = (SELECT publication FROM tidemark.installation)),
generated AS MATERIALIZED (
  SELECT DISTINCT a.attrelid FROM pg_catalog.pg_attribute a WHERE a.attgenerated <> '' AND a.attnum > 0 AND NOT a.attisdropped),
-- A cheap sieve for databases of many tables; identity_of decides.
doubtful AS MATERIALIZED (
  SELECT c.oid, n.nspname, c.relname, c.relreplident
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast')
     AND ((SELECT yes FROM listed) AND c.oid NOT IN (SELECT m.prrelid FROM members m)
          OR c.relreplident = 'n'
          OR c.relreplident = 'd' AND c.oid NOT IN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indisprimary AND x.indisvalid AND x.indimmediate)
          OR c.relreplident = 'i' AND c.oid NOT IN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indisreplident AND x.indisvalid AND x.indimmediate)
          OR c.oid IN (SELECT g.attrelid FROM generated g)
          OR c.relreplident IN ('f', 'i') AND c.oid::bigint IN (SELECT i.oid FROM tidemark.identity i)))
SELECT d.oid::bigint, d.nspname, d.relname
  FROM doubtful d CROSS JOIN listed l CROSS JOIN LATERAL tidemark.identity_of(d.oid) i
 WHERE NOT i.serves AND (tidemark.identity_for(d.oid) IS NOT NULL OR i.fails AND (NOT l.yes OR EXISTS (SELECT FROM tidemark.published_as(d.oid))))
    OR i.serves AND (l.yes AND NOT EXISTS (SELECT FROM tidemark.published_as(d.oid)) OR tidemark.identity_is_needless(d.oid))
 ORDER BY 2, 3
$$;
REVOKE ALL ON FUNCTION tidemark.identities_due() FROM PUBLIC;

-- Streamed tables that the publication leaves out: nobody sees their changes. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.left_out() RETURNS TABLE (oid bigint, schema name, name name)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
WITH members AS MATERIALIZED (
  SELECT r.prrelid FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = (SELECT publication FROM tidemark.installation))
SELECT c.oid::bigint, n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast')
   AND (SELECT NOT tidemark.publishes_all()) AND c.oid NOT IN (SELECT m.prrelid FROM members m)
   -- A partition may be in it through an ancestor.
   AND NOT EXISTS (SELECT FROM tidemark.published_as(c.oid))
 ORDER BY 2, 3
$$;
REVOKE ALL ON FUNCTION tidemark.left_out() FROM PUBLIC;

-- Takes a table whose UPDATE and DELETE fail out of the publication, with a record that stands for a gap from here. Waits for
-- neither readers nor writers, and none of them waits for it; only for VACUUM and other schema changes.
CREATE OR REPLACE FUNCTION tidemark.leave_out(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
  one record;
BEGIN
  IF tidemark.publishes_all() THEN
    PERFORM tidemark.publish_list();
  ELSE
    FOR one IN SELECT n.nspname, c.relname FROM tidemark.published_as(wanted) a JOIN pg_catalog.pg_class c ON c.oid = a JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LOOP
      EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', (SELECT publication FROM tidemark.installation), one.nspname, one.relname);
    END LOOP;
  END IF;
  PERFORM tidemark.record_table('LEAVE OUT', wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.leave_out(oid) FROM PUBLIC;

-- Does what is due for one table, in a transaction of its own, so that no lock is held for longer. `outcome` is what it did:
-- left out, published, or the identity that the table has now; NULL where nothing was due. `recorded` is the transaction in
-- which it recorded that. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.tend_identity(wanted oid, OUT outcome text, OUT recorded text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  state record;
  target text;
  listed boolean := NOT tidemark.publishes_all();
  published boolean := NOT listed OR EXISTS (SELECT FROM tidemark.published_as(wanted));
  told boolean := tidemark.is_recorded(wanted);
BEGIN
  PERFORM set_config('tidemark.repairing', 'on', true);
  IF NOT tidemark.is_streamed(wanted) THEN
    RETURN;
  END IF;
  SELECT * INTO state FROM tidemark.identity_of(wanted);
  IF NOT state.serves THEN
    target := tidemark.identity_for(wanted);
  ELSIF tidemark.identity_is_needless(wanted) THEN
    target := 'd';
  END IF;
  IF published AND state.fails AND (listed OR target IS NULL) THEN
    PERFORM tidemark.leave_out(wanted);
    outcome := 'left out';
  ELSIF target IS NOT NULL OR state.serves AND NOT published THEN
    IF target IS NOT NULL THEN
      PERFORM tidemark.set_identity(wanted, target);
    END IF;
    IF NOT published THEN
      EXECUTE (SELECT format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', i.publication, n.nspname, c.relname)
                 FROM tidemark.installation i CROSS JOIN pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted);
    END IF;
    -- Where UPDATE and DELETE failed so far, or the identity did serve, the stream has everything: no gap.
    PERFORM tidemark.record_table(CASE WHEN published AND told AND (state.serves OR state.fails) THEN 'IDENTITY' ELSE 'REPAIR' END, wanted);
    outcome := CASE target WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'i' THEN 'USING INDEX' ELSE 'published' END;
  END IF;
  recorded := CASE WHEN outcome IS NOT NULL THEN pg_current_xact_id()::text END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.tend_identity(oid) FROM PUBLIC;

-- The tables, as schema.table, whose FULL stays although a key would serve. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.keep_identities(wanted text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DELETE FROM tidemark.identity_kept WHERE name <> ALL (wanted);
INSERT INTO tidemark.identity_kept SELECT DISTINCT unnest(wanted) ON CONFLICT DO NOTHING;
$$;
REVOKE ALL ON FUNCTION tidemark.keep_identities(text[]) FROM PUBLIC;
INSERT INTO tidemark.installation (stream, publication, slot, mode) VALUES ('{{stream}}', '{{publication}}', '{{publication}}', 'triggers');
-- In front of the first rows: an older server looks for the publication at each.
SELECT tidemark.publish(true);
-- How every table and type stands now: what the first change of each compares with.
INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
SELECT pg_catalog.pg_current_xact_id()::text, 'INIT', 'table', 'pg_class', s.id, s.parent, tidemark.table_facts(s.id)::text, s.shape
  FROM tidemark.shapes(ARRAY(SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                              WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark'))) s;
INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
SELECT pg_catalog.pg_current_xact_id()::text, 'INIT', 'type', 'pg_type', t.oid, tidemark.type_facts(t.oid)::text
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid
 WHERE t.typtype IN ('e', 'c') AND (t.typrelid = 0 OR r.relkind = 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark');
-- What the event triggers run: each DDL is recorded inside the user's transaction.

-- The table that an object belongs to: NULL for what is no part of a table.
CREATE OR REPLACE FUNCTION tidemark.table_of(class oid, object oid) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN CASE
    WHEN class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
      (SELECT CASE WHEN r.relkind IN ('r', 'p') THEN r.oid WHEN r.relkind IN ('i', 'I') THEN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indexrelid = r.oid) END FROM pg_catalog.pg_class r WHERE r.oid = object)
    WHEN class = 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (SELECT g.tgrelid FROM pg_catalog.pg_trigger g WHERE g.oid = object)
    WHEN class = 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = object)
    WHEN class = 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT NULLIF(k.conrelid, 0) FROM pg_catalog.pg_constraint k WHERE k.oid = object)
    WHEN class = 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN (SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = object)
  END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.table_of(oid, oid) FROM PUBLIC;

-- The statements that make an object again which is neither a table nor a type nor a sequence: it may be gone before
-- anybody has read it. NULL where the server gives no definition.
CREATE OR REPLACE FUNCTION tidemark.definition(class oid, object oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
BEGIN
  IF class = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', CASE WHEN p.prokind = 'p' THEN 'procedure' ELSE 'function' END, 'schema', n.nspname, 'name', p.proname,
              'named', format('%s %I.%I(%s)', CASE WHEN p.prokind = 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
              'owner', pg_catalog.pg_get_userbyid(p.proowner), 'create', pg_catalog.pg_get_functiondef(p.oid))
              FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = object AND p.prokind IN ('f', 'p', 'w'));
  ELSIF class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', CASE WHEN c.relkind = 'v' THEN 'view' ELSE 'materializedView' END, 'schema', n.nspname, 'name', c.relname,
              'named', format('%s %I.%I', CASE WHEN c.relkind = 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, n.nspname, c.relname), 'owner', pg_catalog.pg_get_userbyid(c.relowner),
              'create', format('CREATE %s %I.%I%s%s AS %s%s', CASE WHEN c.relkind = 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, n.nspname, c.relname,
                 (SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                 CASE WHEN c.reloptions IS NOT NULL THEN format(' WITH (%s)', array_to_string(c.reloptions, ', ')) END,
                 rtrim(pg_catalog.pg_get_viewdef(c.oid), '; '), CASE WHEN c.relkind = 'm' THEN ' WITH NO DATA' END))
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = object AND c.relkind IN ('v', 'm') AND pg_catalog.pg_get_viewdef(c.oid) IS NOT NULL);
  ELSIF class = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', 'schema', 'schema', NULL, 'name', n.nspname, 'named', format('SCHEMA %I', n.nspname), 'owner', pg_catalog.pg_get_userbyid(n.nspowner),
              'create', format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname)) FROM pg_catalog.pg_namespace n WHERE n.oid = object);
  ELSIF class = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', 'statistics', 'schema', n.nspname, 'name', s.stxname, 'named', format('STATISTICS %I.%I', n.nspname, s.stxname), 'owner', pg_catalog.pg_get_userbyid(s.stxowner),
              'create', pg_catalog.pg_get_statisticsobjdef(s.oid)) FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.oid = object);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.definition(oid, oid) FROM PUBLIC;

-- Records one object that a command named. The class is that of the object, also where its table's facts are recorded.
CREATE OR REPLACE FUNCTION tidemark.record_object(tag text, class oid, object oid, kind text, identity text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one oid;
BEGIN
  IF kind = 'sequence' THEN
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) SELECT pg_catalog.pg_current_xact_id()::text, tag, 'sequence', 'pg_class', object, f::text
      FROM tidemark.sequence_facts(object) f WHERE NOT (f ->> 'identity')::boolean;
    RETURN;
  ELSIF class = 'pg_catalog.pg_type'::pg_catalog.regclass THEN
    PERFORM tidemark.record_type(tag, object);
    RETURN;
  ELSIF class = 'pg_catalog.pg_class'::pg_catalog.regclass AND EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.oid = object AND r.relkind = 'c') THEN
    PERFORM tidemark.record_type(tag, (SELECT r.reltype FROM pg_catalog.pg_class r WHERE r.oid = object));
    RETURN;
  ELSIF class = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND tag = 'ALTER SCHEMA' THEN
    -- A renamed schema renames every table in it.
    FOR one IN SELECT r.oid FROM pg_catalog.pg_class r WHERE r.relnamespace = object AND r.relkind IN ('r', 'p') LOOP
      PERFORM tidemark.record_one(tag, one);
    END LOOP;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
  VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'other', (SELECT k.relname FROM pg_catalog.pg_class k WHERE k.oid = class), object,
    jsonb_build_object('type', kind, 'identity', identity, 'definition', tidemark.definition(class, object))::text);
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_object(text, oid, oid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
  affected oid;
  recorded oid[] := '{}';
BEGIN
  -- Our own ALTER inside another command, on servers that cannot switch event triggers off.
  IF current_setting('session_replication_role') = 'replica' AND current_setting('tidemark.altering', true) = 'on' THEN
    RETURN;
  END IF;
  FOR c IN SELECT DISTINCT classid, objid, object_type, command_tag, object_identity, COALESCE(schema_name, '') AS schema_name
             FROM pg_catalog.pg_event_trigger_ddl_commands() LOOP
    CONTINUE WHEN c.schema_name LIKE 'pg\_temp%' OR c.schema_name = 'tidemark';
    BEGIN
      affected := tidemark.table_of(c.classid, c.objid);
      IF affected IS NULL THEN
        -- A serial column's sequence is made and then owned: one command, one record.
        CONTINUE WHEN c.object_type = 'sequence' AND c.objid = ANY (recorded);
        recorded := recorded || CASE WHEN c.object_type = 'sequence' THEN c.objid END;
        PERFORM tidemark.record_object(c.command_tag, c.classid, c.objid, c.object_type, c.object_identity);
      ELSIF affected <> ALL (recorded) THEN
        -- One command, one record of the table, however many of its parts it names.
        recorded := recorded || affected;
        -- A new table's key is named as well: it is still a new table.
        PERFORM tidemark.record_table(CASE WHEN tg_tag LIKE 'CREATE TABLE%' THEN tg_tag ELSE c.command_tag END, affected);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      -- Never the user's failure. The next comparison of the catalog with the records finds what is missing here.
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
  one oid;
  dropped boolean;
BEGIN
  -- ALTER TABLE records its table and what it reached at its end. Here: what other commands took from tables.
  IF tg_tag <> 'ALTER TABLE' THEN
    FOR one IN
      SELECT DISTINCT c.oid FROM pg_catalog.pg_event_trigger_dropped_objects() d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND d.object_type = 'table column'
       WHERE NOT d.is_temporary AND d.schema_name <> 'tidemark'
    LOOP
      BEGIN
        PERFORM tidemark.record_one(tg_tag, one);
      EXCEPTION WHEN OTHERS THEN
        NULL;
      END;
    END LOOP;
  END IF;
  BEGIN
    -- Constraints of tables that the command does not name: their names are all that is told.
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
    SELECT pg_catalog.pg_current_xact_id()::text, tg_tag, 'descendant', 'pg_class', c.oid,
           json_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'replicaIdentity', c.relreplident,
             'goneConstraints', json_agg(d.address_names[3]))::text
      FROM pg_catalog.pg_event_trigger_dropped_objects() d JOIN pg_catalog.pg_namespace n ON n.nspname = d.address_names[1] JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = d.address_names[2]
     WHERE d.object_type = 'table constraint' AND NOT d.is_temporary AND d.schema_name <> 'tidemark'
     GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident;
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
    SELECT pg_catalog.pg_current_xact_id()::text, tg_tag, 'drop', (SELECT k.relname FROM pg_catalog.pg_class k WHERE k.oid = d.classid), d.objid,
           json_build_object('type', d.object_type, 'identity', d.object_identity, 'names', to_json(d.address_names))::text
      FROM pg_catalog.pg_event_trigger_dropped_objects() d
     WHERE NOT d.is_temporary AND COALESCE(d.schema_name, '') NOT IN ('tidemark', 'pg_toast')
       AND d.object_type IN ('table', 'index', 'type', 'sequence', 'view', 'materialized view', 'function', 'procedure', 'trigger', 'schema', 'policy', 'rule', 'statistics object');
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  -- What lost its identity gets one in the same command.
  IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() d WHERE d.object_type IN ('index', 'table constraint', 'table column') AND NOT d.is_temporary) THEN
    FOR one IN
      SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384 AND n.nspname NOT IN ('information_schema', 'tidemark') AND pg_catalog.pg_get_replica_identity_index(c.oid) IS NULL
         AND (c.relreplident = 'i' OR c.relreplident = 'd' AND c.oid IN (
               SELECT t.oid FROM pg_catalog.pg_event_trigger_dropped_objects() d JOIN pg_catalog.pg_namespace tn ON tn.nspname = d.address_names[1] JOIN pg_catalog.pg_class t ON t.relnamespace = tn.oid AND t.relname = d.address_names[2]
                WHERE d.object_type IN ('table constraint', 'table column')))
    LOOP
      BEGIN
        PERFORM tidemark.record_one(tg_tag, one);
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
DECLARE
  latest record;
BEGIN
  -- The catalog already shows the new columns; the table's latest record has the old ones.
  SELECT d.facts, d.columns INTO latest FROM tidemark.ddl d WHERE d.oid = pg_catalog.pg_event_trigger_table_rewrite_oid()::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tg_tag, 'rewrite', 'pg_class', pg_catalog.pg_event_trigger_table_rewrite_oid(),
    jsonb_build_object('reason', pg_catalog.pg_event_trigger_table_rewrite_reason(),
      -- Only text that shows the whole command can show that it has no USING: nothing that calls further code.
      'plain', current_query() ~* '\malter\s+table\M' AND current_query() !~* '\m(using|do|call|select|execute|perform)\M',
      'before', CASE WHEN latest.columns LIKE '%|%|%' THEN
          (SELECT jsonb_agg(jsonb_build_object('attnum', split_part(a, ':', 1)::int, 'typeOid', split_part(a, ':', 2)::bigint, 'typmod', split_part(a, ':', 3)::int, 'generated', split_part(a, ':', 4)))
             FROM string_to_table(split_part(latest.columns, '|', 3), ',') a WHERE split_part(a, ':', 2) <> '0')
        ELSE latest.facts::jsonb -> 'columns' END)::text);
EXCEPTION WHEN OTHERS THEN
  NULL;
END
$$;

REVOKE ALL ON FUNCTION tidemark.on_ddl() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_drop() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_rewrite() FROM PUBLIC;

-- Other people's event triggers do not fire for our ALTER. Before PostgreSQL 17 those that are ENABLE ALWAYS still do.
DO $$
DECLARE
  altering text := 'tidemark.set_identity(oid, text)';
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    EXECUTE format('ALTER FUNCTION %s SET event_triggers = off', altering);
    ALTER FUNCTION tidemark.ensure_published(oid, text) SET event_triggers = off;
  ELSE
    EXECUTE format('ALTER FUNCTION %s SET session_replication_role = replica SET tidemark.altering = on', altering);
  END IF;
END
$$;
-- The event triggers need a superuser; without one the source is asked again and again instead (tidemark.repair).
CREATE EVENT TRIGGER tidemark_ddl ON ddl_command_end EXECUTE FUNCTION tidemark.on_ddl();
CREATE EVENT TRIGGER tidemark_drop ON sql_drop EXECUTE FUNCTION tidemark.on_drop();
CREATE EVENT TRIGGER tidemark_rewrite ON table_rewrite EXECUTE FUNCTION tidemark.on_rewrite();
ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_rewrite ENABLE ALWAYS;
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
