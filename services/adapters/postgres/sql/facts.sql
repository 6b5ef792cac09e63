-- A table as the catalog has it: enough to carry rows over a change of its columns, and to make it again.
CREATE OR REPLACE FUNCTION tidemark.table_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
  'owner', pg_catalog.pg_get_userbyid(c.relowner), 'replicaIdentity', c.relreplident, 'options', to_jsonb(c.reloptions),
  'rowSecurity', c.relrowsecurity, 'forceRowSecurity', c.relforcerowsecurity,
  'accessMethod', (SELECT am.amname FROM pg_catalog.pg_am am WHERE am.oid = c.relam),
  'ofType', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
  'partitionKey', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
  'partitionBound', CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END,
  'parents', (SELECT jsonb_agg(jsonb_build_object('schema', pn.nspname, 'name', p.relname) ORDER BY i.inhseqno)
                FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
               WHERE i.inhrelid = c.oid),
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
       'local', a.attislocal,
       'sequence', (SELECT jsonb_build_object('schema', sn.nspname, 'name', sc.relname, 'start', s.seqstart::text, 'increment', s.seqincrement::text,
                          'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle)
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
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = k.conindid AND k.contype IN ('p', 'u'))
     ) ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n'), '[]'),
  'indexes', COALESCE((SELECT jsonb_agg(jsonb_build_object('schema', xn.nspname, 'name', xc.relname, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid),
       'clustered', x.indisclustered, 'identity', x.indisreplident,
       'parentIndex', (SELECT format('%I.%I', pin.nspname, pi.relname) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace WHERE i.inhrelid = x.indexrelid)
     ) ORDER BY xc.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_namespace xn ON xn.oid = xc.relnamespace
    WHERE x.indrelid = c.oid AND x.indisvalid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))), '[]'),
  'triggers', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', g.tgname, 'definition', pg_catalog.pg_get_triggerdef(g.oid), 'enabled', g.tgenabled) ORDER BY g.tgname)
     FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgparentid = 0), '[]'),
  'rules', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', r.rulename, 'definition', pg_catalog.pg_get_ruledef(r.oid)) ORDER BY r.rulename)
     FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'), '[]'),
  'policies', COALESCE((SELECT jsonb_agg(jsonb_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive,
       'roles', (SELECT jsonb_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END) FROM unnest(p.polroles) AS r(oid)),
       'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
     FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid), '[]'),
  'comments', COALESCE((SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'text', ds.description) ORDER BY ds.objsubid)
     FROM pg_catalog.pg_description ds LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = ds.objoid AND a.attnum = ds.objsubid AND ds.objsubid > 0
    WHERE ds.objoid = c.oid AND ds.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass), '[]'),
  'grants', COALESCE((SELECT jsonb_agg(g ORDER BY g::text) FROM (
       SELECT jsonb_build_object('grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END, 'privilege', x.privilege_type, 'grantable', x.is_grantable, 'column', NULL) AS g
         FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner
       UNION ALL
       SELECT jsonb_build_object('grantee', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END, 'privilege', x.privilege_type, 'grantable', x.is_grantable, 'column', a.attname)
         FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE a.attrelid = c.oid AND NOT a.attisdropped) AS all_grants), '[]')
) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.table_facts(oid) FROM PUBLIC;

-- A type as the catalog has it.
CREATE OR REPLACE FUNCTION tidemark.type_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', t.oid::bigint, 'schema', n.nspname, 'name', t.typname, 'type', t.typtype, 'owner', pg_catalog.pg_get_userbyid(t.typowner),
  'labels', (SELECT jsonb_agg(jsonb_build_object('oid', e.oid::bigint, 'label', e.enumlabel) ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
  'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
  'notNull', t.typnotnull, 'default', t.typdefault,
  'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN (SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = t.typcollation) END,
  'constraints', (SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
  'attributes', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped),
  'subtype', (SELECT jsonb_build_object('type', format_type(r.rngsubtype, NULL), 'opclass', (SELECT format('%I.%I', on_.nspname, oc.opcname) FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_namespace on_ ON on_.oid = oc.opcnamespace WHERE oc.oid = r.rngsubopc AND NOT oc.opcdefault),
       'multirange', (SELECT format('%I.%I', mn.nspname, m.typname) FROM pg_catalog.pg_type m JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = r.rngmultitypid))
      FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype WHERE t.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.type_facts(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.sequence_facts(wanted oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
SELECT jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'owner', pg_catalog.pg_get_userbyid(c.relowner), 'type', format_type(s.seqtypid, NULL),
  'start', s.seqstart::text, 'increment', s.seqincrement::text, 'min', s.seqmin::text, 'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
  'identity', EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i'),
  'ownedBy', (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
                JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid WHERE c.oid = wanted
$$;
REVOKE ALL ON FUNCTION tidemark.sequence_facts(oid) FROM PUBLIC;
