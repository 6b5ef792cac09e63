-- The index of the parent that an index of a partition hangs on.
CREATE OR REPLACE FUNCTION tidemark.parent_index(wanted oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.parent_index(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.collation_name(wanted oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.collation_name(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.access_method(wanted oid) RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT am.amname FROM pg_catalog.pg_am am WHERE am.oid = wanted $$;
REVOKE ALL ON FUNCTION tidemark.access_method(oid) FROM PUBLIC;

-- The sequence of an identity column.
CREATE OR REPLACE FUNCTION tidemark.identity_sequence(wanted oid, attnum int2) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('oid', sc.oid::bigint, 'schema', sn.nspname, 'name', sc.relname, 'start', s.seqstart::text, 'increment', s.seqincrement::text,
         'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
         'acl', to_jsonb(sc.relacl::text[]), 'aclDefault', CASE WHEN sc.relacl IS NOT NULL THEN to_jsonb(acldefault('s', sc.relowner)::text[]) END,
         'comment', obj_description(sc.oid, 'pg_class'), 'persistence', sc.relpersistence)
  FROM pg_catalog.pg_depend dep JOIN pg_catalog.pg_class sc ON sc.oid = dep.objid AND sc.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = sc.oid
 WHERE dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dep.refobjid = wanted
   AND dep.refobjsubid = attnum AND dep.deptype = 'i'
$$;
REVOKE ALL ON FUNCTION tidemark.identity_sequence(oid, int2) FROM PUBLIC;

-- Of 18 and newer: what a bare NOT NULL would not give.
CREATE OR REPLACE FUNCTION tidemark.not_nulls(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'name', k.conname, 'noInherit', k.connoinherit, 'valid', k.convalidated, 'local', k.conislocal,
         'validBeforeParent', k.convalidated AND EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_constraint pk ON pk.conrelid = i.inhparent AND pk.contype = 'n' AND NOT pk.convalidated JOIN pg_catalog.pg_attribute pa ON pa.attrelid = pk.conrelid AND pa.attnum = pk.conkey[1] WHERE i.inhrelid = c.oid AND pa.attname = a.attname),
         'namedApart', EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_constraint pk ON pk.conrelid = i.inhparent AND pk.contype = 'n' JOIN pg_catalog.pg_attribute pa ON pa.attrelid = pk.conrelid AND pa.attnum = pk.conkey[1] WHERE i.inhrelid = c.oid AND pa.attname = a.attname AND pk.conname <> k.conname)) ORDER BY a.attnum)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
 WHERE c.oid = wanted AND k.contype = 'n' AND (k.conname <> c.relname || '_' || a.attname || '_not_null' OR k.connoinherit OR NOT k.convalidated OR a.attislocal <> k.conislocal)
$$;
REVOKE ALL ON FUNCTION tidemark.not_nulls(oid) FROM PUBLIC;

-- A table as the catalog has it: enough to carry rows over a change of its columns, and to make it again; with what a
-- record of it needs beside that. Runs in the user's own command, so that it asks only for what the table has: a statement
-- is planned when it runs first in a session, and planning costs many times what reading one table does. What hardly any
-- table has stands in functions of its own, which are planned only where they are called.
--   shape    as tidemark.shapes() gives it
--   parent   what the table hangs on
--   branched whether tables may hang on it
--   calm     its replica identity serves and there is nothing to take back, by a look that errs on the other side
CREATE OR REPLACE FUNCTION tidemark.table_state(wanted oid, OUT facts jsonb, OUT shape text, OUT parent oid, OUT kind text, OUT persistence text, OUT space text, OUT branched boolean, OUT calm boolean)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
AS $$
DECLARE
  c record;
  own record;
  k record;
  has record;
  identity oid;
  indexes jsonb := '[]';
  keyed boolean := false;
  identity_name text;
  identity_columns text;
  identity_width int;
  keys jsonb := '[]';
  named int[];
  parts oid[] := '{}';
  triggers jsonb;
  states jsonb;
  rules jsonb;
  policies jsonb;
  comments jsonb;
  part_comments jsonb;
  more oid[];
BEGIN
  SELECT r.oid, r.relname, r.relkind, r.relpersistence, r.relowner, r.relreplident, r.reloptions, r.relacl, r.relrowsecurity, r.relforcerowsecurity, r.relam, r.reloftype,
         r.relispartition, r.relpartbound, r.relhasindex, r.relhastriggers, r.relhasrules, r.relhassubclass, r.relfilenode, n.nspname, o.reloptions AS toast_options
    INTO c FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace LEFT JOIN pg_catalog.pg_class o ON o.oid = r.reltoastrelid WHERE r.oid = wanted;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- In the order of their numbers, dropped ones too: the place in `names` is the number.
  SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.atttypmod, a.attgenerated, CASE WHEN NOT a.attisdropped THEN left(md5(a.attname), 8) ELSE '' END, a.xmin), ',') AS shape,
         array_agg(a.attname::text) AS names, array_agg(a.attislocal) AS local, COALESCE(bool_or(NOT a.attisdropped AND a.attgenerated <> ''), false) AS generated,
         COALESCE(jsonb_agg(jsonb_build_object(
           'attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
           'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
           'default', pg_catalog.pg_get_expr(a.adbin, wanted),
           'hasMissing', a.atthasmissing, 'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
           'collation', CASE WHEN a.attcollation <> a.typcollation THEN tidemark.collation_name(a.attcollation) END,
           'storage', CASE WHEN a.attstorage <> a.typstorage THEN a.attstorage END,
           'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END,
           'statistics', CASE WHEN COALESCE(a.attstattarget, -1) >= 0 THEN a.attstattarget END,
           'options', to_jsonb(a.attoptions), 'acl', to_jsonb(a.attacl::text[]),
           'local', a.attislocal,
           'sequence', CASE WHEN a.attidentity <> '' THEN tidemark.identity_sequence(wanted, a.attnum) END)) FILTER (WHERE NOT a.attisdropped), '[]') AS columns
    INTO own
    FROM (SELECT t.attnum, t.attname, t.atttypid, t.atttypmod, t.attnotnull, t.attidentity, t.attgenerated, t.atthasmissing, t.attmissingval, t.attcollation, t.attstorage, t.attcompression,
                 t.attstattarget, t.attoptions, t.attacl, t.attislocal, t.attisdropped, t.xmin, y.typcollation, y.typstorage, d.adbin
            FROM pg_catalog.pg_attribute t LEFT JOIN pg_catalog.pg_type y ON y.oid = t.atttypid LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = t.attrelid AND d.adnum = t.attnum
           WHERE t.attrelid = wanted AND t.attnum > 0 ORDER BY t.attnum) a;
  SELECT COALESCE(jsonb_agg(jsonb_build_object('name', q.conname, 'type', q.contype, 'definition', pg_catalog.pg_get_constraintdef(q.oid),
           'index', CASE WHEN q.own THEN q.index_name END,
           'inherited', q.coninhcount > 0 AND NOT q.conislocal, 'hasParent', q.conparentid <> 0,
           'clustered', COALESCE(q.indisclustered, false),
           'parentIndex', CASE WHEN q.own AND q.hung THEN tidemark.parent_index(q.conindid) END)) FILTER (WHERE q.contype <> 'n'), '[]') AS list,
         COALESCE(array_agg(q.conindid) FILTER (WHERE q.own), '{}') AS indexes, COALESCE(array_agg(q.oid), '{}') AS oids,
         COALESCE(bool_or(q.contype = 'n' AND (q.conname <> c.relname || '_' || own.names[q.conkey[1]] || '_not_null' OR q.connoinherit OR NOT q.convalidated OR own.local[q.conkey[1]] <> q.conislocal)), false) AS not_nulls
    INTO k
    FROM (SELECT p.oid, p.conname, p.contype, p.coninhcount, p.conislocal, p.conparentid, p.conindid, p.conkey, p.connoinherit, p.convalidated, p.contype IN ('p', 'u', 'x') AS own,
                 ic.relname AS index_name, ic.relispartition AS hung, cx.indisclustered
            FROM pg_catalog.pg_constraint p LEFT JOIN pg_catalog.pg_class ic ON ic.oid = p.conindid LEFT JOIN pg_catalog.pg_index cx ON cx.indexrelid = p.conindid AND cx.indrelid = wanted
           WHERE p.conrelid = wanted ORDER BY p.conname) q;
  parts := k.oids;
  IF c.relhasindex THEN
    -- By the catalog alone: the server's own function opens the table, and would wait for whoever has that one locked.
    SELECT x.indexrelid INTO identity FROM pg_catalog.pg_index x
     WHERE x.indrelid = wanted AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident END AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL;
    SELECT COALESCE(jsonb_agg(jsonb_build_object('schema', q.nspname, 'name', q.relname, 'definition', pg_catalog.pg_get_indexdef(q.indexrelid),
             'clustered', q.indisclustered, 'identity', q.indisreplident,
             'statistics', CASE WHEN q.expressions THEN (SELECT jsonb_agg(jsonb_build_object('column', a.attnum, 'target', a.attstattarget) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = q.indexrelid AND a.attstattarget >= 0) END,
             'parentIndex', CASE WHEN q.relispartition THEN tidemark.parent_index(q.indexrelid) END)) FILTER (WHERE (q.indisvalid OR q.relkind = 'I') AND q.indexrelid <> ALL (k.indexes)), '[]'),
           array_agg(q.indexrelid), COALESCE(bool_or(q.indisprimary), false),
           max(q.relname::text) FILTER (WHERE q.indexrelid = identity), max(q.indkey::text) FILTER (WHERE q.indexrelid = identity), max(q.indnkeyatts) FILTER (WHERE q.indexrelid = identity)
      INTO indexes, more, keyed, identity_name, identity_columns, identity_width
      FROM (SELECT ix.indexrelid, ix.indisclustered, ix.indisreplident, ix.indisvalid, ix.indisprimary, ix.indkey, ix.indnkeyatts, ix.indexprs IS NOT NULL AS expressions, xc.relname, xc.relkind, xc.relispartition, xn.nspname
              FROM pg_catalog.pg_index ix JOIN pg_catalog.pg_class xc ON xc.oid = ix.indexrelid JOIN pg_catalog.pg_namespace xn ON xn.oid = xc.relnamespace WHERE ix.indrelid = wanted ORDER BY xc.relname) q;
    parts := parts || more;
    IF identity IS NOT NULL AND c.relreplident <> 'f' THEN
      named := string_to_array(identity_columns, ' ');
      FOR place IN 1 .. identity_width LOOP
        keys := keys || to_jsonb(own.names[named[place]]);
      END LOOP;
    END IF;
  END IF;
  SELECT EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = wanted) AS policies,
         (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = wanted ORDER BY i.inhseqno LIMIT 1) AS parent,
         EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = wanted AND d.deptype = 'e') AS extension,
         -- An identity that Tidemark gave is no property of the application's table: what was before it is.
         CASE WHEN current_setting('transaction_isolation') <> 'serializable' THEN (SELECT jsonb_build_object('identity', g.before, 'index', g.before_index) FROM tidemark.identity g WHERE g.oid = wanted::bigint AND g.given = c.relreplident::text) END AS identity_before
    INTO has;
  -- A statement of its own: whoever only reads the catalog needs no right to it.
  IF current_setting('transaction_isolation') = 'serializable' AND c.relreplident IN ('f', 'i') THEN
    SELECT jsonb_build_object('identity', g.before, 'index', g.before_index) INTO has.identity_before FROM tidemark.given_beside(wanted) g WHERE g.given = c.relreplident::text;
  END IF;
  IF c.relhastriggers THEN
    SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'definition', pg_catalog.pg_get_triggerdef(g.oid), 'enabled', g.tgenabled) ORDER BY g.tgname) FILTER (WHERE g.tgparentid = 0), COALESCE(array_agg(g.oid), '{}')
      INTO triggers, more FROM pg_catalog.pg_trigger g WHERE g.tgrelid = wanted AND NOT g.tgisinternal;
    parts := parts || more;
    -- Triggers of a partition that are on or off otherwise than the one of its parent.
    IF has.parent IS NOT NULL THEN
      SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'enabled', g.tgenabled) ORDER BY g.tgname) INTO states
        FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_trigger pg ON pg.oid = g.tgparentid WHERE g.tgrelid = wanted AND NOT pg.tgisinternal AND g.tgenabled <> pg.tgenabled;
    END IF;
  END IF;
  IF c.relhasrules THEN
    SELECT jsonb_agg(jsonb_build_object('name', r.rulename, 'definition', pg_catalog.pg_get_ruledef(r.oid), 'enabled', r.ev_enabled) ORDER BY r.rulename) FILTER (WHERE r.rulename <> '_RETURN'), COALESCE(array_agg(r.oid), '{}')
      INTO rules, more FROM pg_catalog.pg_rewrite r WHERE r.ev_class = wanted;
    parts := parts || more;
  END IF;
  IF has.policies THEN
    SELECT jsonb_agg(jsonb_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive,
             'roles', (SELECT jsonb_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END) FROM unnest(p.polroles) AS r(oid)),
             'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname), COALESCE(array_agg(p.oid), '{}')
      INTO policies, more FROM pg_catalog.pg_policy p WHERE p.polrelid = wanted;
    parts := parts || more;
  END IF;
  -- Hardly any table has a comment: one look for it and all its parts.
  IF EXISTS (SELECT FROM pg_catalog.pg_description ds WHERE ds.objoid = ANY (parts || wanted)) THEN
    SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'text', ds.description) ORDER BY ds.objsubid) INTO comments
      FROM pg_catalog.pg_description ds LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = ds.objoid AND a.attnum = ds.objsubid AND ds.objsubid > 0
     WHERE ds.objoid = wanted AND ds.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass;
    IF EXISTS (SELECT FROM pg_catalog.pg_description ds WHERE ds.objoid = ANY (parts)) THEN
      part_comments := tidemark.part_comments(wanted);
    END IF;
  END IF;
  parent := has.parent;
  kind := c.relkind;
  persistence := c.relpersistence;
  space := c.nspname;
  branched := c.relhassubclass;
  calm := NOT own.generated AND (c.relkind = 'p' OR c.relreplident = 'd' AND identity IS NOT NULL OR c.relreplident = 'f' AND NOT keyed);
  shape := concat_ws('|', c.relfilenode, md5(concat_ws('|', c.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident)), COALESCE(own.shape, ''));
  facts := jsonb_build_object(
    'oid', wanted::bigint, 'schema', c.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
    'owner', pg_catalog.pg_get_userbyid(c.relowner), 'replicaIdentity', c.relreplident, 'options', to_jsonb(c.reloptions), 'toastOptions', to_jsonb(c.toast_options),
    'acl', to_jsonb(c.relacl::text[]), 'aclDefault', CASE WHEN c.relacl IS NOT NULL THEN to_jsonb(acldefault('r', c.relowner)::text[]) END,
    'rowSecurity', c.relrowsecurity, 'forceRowSecurity', c.relforcerowsecurity,
    'accessMethod', CASE c.relam WHEN 0 THEN NULL WHEN 2 THEN 'heap' ELSE tidemark.access_method(c.relam) END,
    'ofType', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
    'partitionKey', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(wanted) END,
    'partitionBound', CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, wanted) END,
    'extension', NULL, 'parents', NULL, 'inheritsInOrder', NULL,
    'keyColumns', keys, 'identityIndex', identity_name, 'identityBefore', has.identity_before, 'columns', own.columns, 'constraints', k.list,
    'notNulls', CASE WHEN k.not_nulls THEN tidemark.not_nulls(wanted) END,
    'indexes', indexes,
    'triggers', COALESCE(triggers, '[]'), 'triggerStates', states, 'rules', COALESCE(rules, '[]'), 'policies', COALESCE(policies, '[]'),
    'comments', COALESCE(comments, '[]'), 'partComments', part_comments,
    -- Of before 'acl': empty, and read where an older record has it.
    'grants', '[]'::jsonb);
  IF has.parent IS NOT NULL THEN
    facts := facts || tidemark.parent_facts(wanted);
  END IF;
  IF has.extension THEN
    facts := facts || jsonb_build_object('extension', (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = wanted AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.table_state(oid) FROM PUBLIC;

-- What a table hangs on.
CREATE OR REPLACE FUNCTION tidemark.parent_facts(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN (SELECT jsonb_build_object(
    'parents', (SELECT jsonb_agg(jsonb_build_object('schema', pn.nspname, 'name', p.relname) ORDER BY i.inhseqno)
                  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
                 WHERE i.inhrelid = wanted),
    -- Columns of its parents that are NOT NULL here alone. From 18 on their constraints have names, and are told with those.
    'notNullAlone', CASE WHEN NOT c.relispartition AND current_setting('server_version_num')::integer < 180000 THEN
       (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attislocal AND a.attnotnull
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_attribute p ON p.attrelid = i.inhparent AND p.attname = a.attname AND p.attnotnull AND NOT p.attisdropped WHERE i.inhrelid = wanted)) END,
    -- Whether INHERITS would give the columns, in the order that they have: one that a parent lost with what it was made from stays in the child.
    'inheritsInOrder', CASE WHEN NOT c.relispartition THEN
       (WITH given AS (SELECT a.attname, row_number() OVER (ORDER BY min(i.inhseqno * 2000 + a.attnum)) AS place
                         FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhparent AND a.attnum > 0 AND NOT a.attisdropped WHERE i.inhrelid = wanted GROUP BY a.attname),
             own AS (SELECT a.attname, a.attislocal, row_number() OVER (ORDER BY a.attnum) AS place FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped)
        SELECT NOT EXISTS (SELECT FROM given g LEFT JOIN own o ON o.place = g.place WHERE o.attname IS DISTINCT FROM g.attname)
           AND NOT EXISTS (SELECT FROM own o WHERE NOT o.attislocal AND o.attname NOT IN (SELECT g.attname FROM given g))) END)
    FROM pg_catalog.pg_class c WHERE c.oid = wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.parent_facts(oid) FROM PUBLIC;

-- Comments on a table's parts. An index has its own schema in front; the others' names are of the table.
CREATE OR REPLACE FUNCTION tidemark.part_comments(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN (SELECT jsonb_agg(jsonb_build_object('kind', part.kind, 'name', part.name, 'text', ds.description) ORDER BY part.kind, part.name)
     FROM (SELECT 'CONSTRAINT' AS kind, 'pg_catalog.pg_constraint'::pg_catalog.regclass AS class, k.oid, k.conname::text AS name FROM pg_catalog.pg_constraint k WHERE k.conrelid = wanted
           UNION ALL SELECT 'INDEX', 'pg_catalog.pg_class'::pg_catalog.regclass, x.indexrelid, ic.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = wanted
           UNION ALL SELECT 'TRIGGER', 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = wanted AND NOT g.tgisinternal
           UNION ALL SELECT 'RULE', 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, r.rulename FROM pg_catalog.pg_rewrite r WHERE r.ev_class = wanted
           UNION ALL SELECT 'POLICY', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polname FROM pg_catalog.pg_policy p WHERE p.polrelid = wanted) part
     JOIN pg_catalog.pg_description ds ON ds.classoid = part.class AND ds.objoid = part.oid AND ds.objsubid = 0);
END
$$;
REVOKE ALL ON FUNCTION tidemark.part_comments(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.table_facts(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (tidemark.table_state(wanted)).facts;
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

-- What hardly any type has, planned only where it is called.
-- Of a composite type, by its relation.
CREATE OR REPLACE FUNCTION tidemark.attributes(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped
$$;
REVOKE ALL ON FUNCTION tidemark.attributes(oid) FROM PUBLIC;

-- Apart from the attributes: a change of those says that stored rows look otherwise.
CREATE OR REPLACE FUNCTION tidemark.attribute_details(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_agg(d) FROM (SELECT a.attname AS name, col_description(a.attrelid, a.attnum) AS comment,
       (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_type at JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE at.oid = a.atttypid AND a.attcollation <> at.typcollation) AS collation
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped) d WHERE d.comment IS NOT NULL OR d.collation IS NOT NULL
$$;
REVOKE ALL ON FUNCTION tidemark.attribute_details(oid) FROM PUBLIC;

-- Of a range type.
CREATE OR REPLACE FUNCTION tidemark.range_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('type', format_type(r.rngsubtype, NULL), 'opclass', (SELECT format('%I.%I', on_.nspname, oc.opcname) FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_namespace on_ ON on_.oid = oc.opcnamespace WHERE oc.oid = r.rngsubopc AND NOT oc.opcdefault),
       'collation', (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_type st JOIN pg_catalog.pg_collation co ON co.oid = r.rngcollation JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE st.oid = r.rngsubtype AND r.rngcollation <> st.typcollation),
       'diff', CASE WHEN r.rngsubdiff <> 0 THEN (SELECT format('%I.%I', fn.nspname, f.proname) FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = r.rngsubdiff) END,
       'canonical', CASE WHEN r.rngcanonical <> 0 THEN (SELECT format('%I.%I', fn.nspname, f.proname) FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace WHERE f.oid = r.rngcanonical) END,
       'multirange', (SELECT format('%I.%I', mn.nspname, m.typname) FROM pg_catalog.pg_type m JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = r.rngmultitypid))
      FROM pg_catalog.pg_range r WHERE r.rngtypid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.range_facts(oid) FROM PUBLIC;

-- Of a domain.
CREATE OR REPLACE FUNCTION tidemark.domain_constraints(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid), 'valid', k.convalidated, 'comment', obj_description(k.oid, 'pg_constraint')) ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.contypid = wanted AND k.contype IN ('c', 'n')
$$;
REVOKE ALL ON FUNCTION tidemark.domain_constraints(oid) FROM PUBLIC;

-- A type as the catalog has it.
CREATE OR REPLACE FUNCTION tidemark.type_facts(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
RETURN (SELECT jsonb_build_object('oid', t.oid::bigint, 'schema', n.nspname, 'name', t.typname, 'type', t.typtype, 'owner', pg_catalog.pg_get_userbyid(t.typowner),
  'acl', to_jsonb(t.typacl::text[]), 'aclDefault', CASE WHEN t.typacl IS NOT NULL THEN to_jsonb(acldefault('T', t.typowner)::text[]) END,
  'comment', obj_description(t.oid, 'pg_type'),
  'extension', EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'),
  'labels', (SELECT jsonb_agg(jsonb_build_object('oid', e.oid::bigint, 'label', e.enumlabel) ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
  'notNull', t.typnotnull, 'default', t.typdefault,
  'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN tidemark.collation_name(t.typcollation) END,
  'constraints', CASE WHEN t.typtype = 'd' THEN tidemark.domain_constraints(t.oid) END,
  'attributes', CASE WHEN t.typtype = 'c' THEN tidemark.attributes(t.typrelid) END,
  -- An attribute that is dropped and made again by the same name is another one: stored rows have no value for it.
  'attributeShape', CASE WHEN t.typrelid <> 0 THEN tidemark.attribute_shape(t.typrelid) END,
  'attributeDetails', CASE WHEN t.typtype = 'c' THEN tidemark.attribute_details(t.typrelid) END,
  'subtype', CASE WHEN t.typtype = 'r' THEN tidemark.range_facts(t.oid) END
) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype WHERE t.oid = wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.type_facts(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.sequence_facts(wanted oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
RETURN (SELECT jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'owner', pg_catalog.pg_get_userbyid(c.relowner), 'type', format_type(s.seqtypid, NULL),
  'persistence', c.relpersistence, 'comment', obj_description(c.oid, 'pg_class'), 'acl', to_jsonb(c.relacl::text[]), 'aclDefault', CASE WHEN c.relacl IS NOT NULL THEN to_jsonb(acldefault('s', c.relowner)::text[]) END,
  'start', s.seqstart::text, 'increment', s.seqincrement::text, 'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
  'identity', EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i'),
  'extension', EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'),
  'ownedBy', (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
                JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid WHERE c.oid = wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.sequence_facts(oid) FROM PUBLIC;

-- Who may do what with an object, as far as GRANT and REVOKE change it. NULL for what has no rights of its own.
CREATE OR REPLACE FUNCTION tidemark.rights(class oid, object oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET quote_all_identifiers = off
AS $$
BEGIN
  RETURN CASE
    WHEN class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
      (SELECT jsonb_build_object('class', 'pg_class', 'oid', c.oid::bigint, 'kind', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materializedView' WHEN 'f' THEN 'foreignTable' WHEN 'S' THEN 'sequence' ELSE 'table' END, 'on', CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, 'schema', n.nspname, 'name', c.relname,
                'owner', pg_catalog.pg_get_userbyid(c.relowner), 'acl', to_jsonb(c.relacl::text[]), 'aclDefault', to_jsonb(acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner)::text[]),
                'columns', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'acl', to_jsonb(a.attacl::text[])) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped))
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = object AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))
    WHEN class = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
      (SELECT jsonb_build_object('class', 'pg_proc', 'oid', p.oid::bigint, 'kind', CASE WHEN p.prokind = 'p' THEN 'procedure' ELSE 'function' END, 'on', CASE WHEN p.prokind = 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, 'schema', n.nspname, 'name', p.proname, 'args', pg_catalog.pg_get_function_identity_arguments(p.oid),
                'owner', pg_catalog.pg_get_userbyid(p.proowner), 'acl', to_jsonb(p.proacl::text[]), 'aclDefault', to_jsonb(acldefault('f', p.proowner)::text[]))
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = object)
    WHEN class = 'pg_catalog.pg_type'::pg_catalog.regclass THEN
      (SELECT jsonb_build_object('class', 'pg_type', 'oid', t.oid::bigint, 'kind', 'type', 'on', 'TYPE', 'schema', n.nspname, 'name', t.typname,
                'owner', pg_catalog.pg_get_userbyid(t.typowner), 'acl', to_jsonb(t.typacl::text[]), 'aclDefault', to_jsonb(acldefault('T', t.typowner)::text[]))
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = object)
    WHEN class = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN
      (SELECT jsonb_build_object('class', 'pg_namespace', 'oid', n.oid::bigint, 'kind', 'schema', 'on', 'SCHEMA', 'schema', NULL, 'name', n.nspname,
                'owner', pg_catalog.pg_get_userbyid(n.nspowner), 'acl', to_jsonb(n.nspacl::text[]), 'aclDefault', to_jsonb(acldefault('n', n.nspowner)::text[]))
         FROM pg_catalog.pg_namespace n WHERE n.oid = object)
  END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.rights(oid, oid) FROM PUBLIC;
