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
       'validBeforeParent', k.convalidated AND EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_constraint pk ON pk.conrelid = i.inhparent AND pk.contype = 'n' AND NOT pk.convalidated JOIN pg_catalog.pg_attribute pa ON pa.attrelid = pk.conrelid AND pa.attnum = pk.conkey[1] WHERE i.inhrelid = c.oid AND pa.attname = a.attname),
       'namedApart', EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_constraint pk ON pk.conrelid = i.inhparent AND pk.contype = 'n' JOIN pg_catalog.pg_attribute pa ON pa.attrelid = pk.conrelid AND pa.attnum = pk.conkey[1] WHERE i.inhrelid = c.oid AND pa.attname = a.attname AND pk.conname <> k.conname)) ORDER BY a.attnum)
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
