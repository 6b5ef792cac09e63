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
