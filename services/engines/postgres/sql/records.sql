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
-- another transaction than this one made into what it is, or rows that were rewritten without a record of it. `latest` is
-- the table's latest record and `before` its shape.
CREATE OR REPLACE FUNCTION tidemark.untold(wanted oid, latest bigint, before text, after text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  own xid := pg_catalog.pg_current_xact_id()::xid;
BEGIN
  -- A serializable transaction knows no record before its own: tidemark.repair() compares that.
  IF before NOT LIKE '%|%|%' OR before = after OR current_setting('transaction_isolation') = 'serializable' THEN
    RETURN false;
  END IF;
  IF EXISTS (SELECT FROM string_to_table(split_part(after, '|', 3), ',') a
              WHERE age(split_part(a, ':', 6)::xid) > age(own)
                AND NOT EXISTS (SELECT FROM string_to_table(split_part(before, '|', 3), ',') b
                                 WHERE regexp_replace(b, ':\d+$', '') = regexp_replace(a, ':\d+$', ''))) THEN
    RETURN true;
  END IF;
  IF split_part(before, '|', 1) = split_part(after, '|', 1) THEN
    RETURN false;
  END IF;
  RETURN tidemark.rewritten(before, after,
           -- This command's own changes explain themselves, unless the file is of this transaction as well.
           CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = wanted AND age(c.xmin) <= age(own)) THEN own END)
     AND NOT EXISTS (SELECT FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.kind = 'rewrite' AND d.id > latest)
     -- A file without a row has none that was rewritten: TRUNCATE leaves it so, and is in the stream itself.
     AND pg_catalog.pg_relation_size(wanted) > 0;
END
$$;
REVOKE ALL ON FUNCTION tidemark.untold(oid, bigint, text, text) FROM PUBLIC;

-- Whether a generated column became an ordinary one between two shapes: it keeps what was computed, which the stream never had.
CREATE OR REPLACE FUNCTION tidemark.lost_expression(before text, after text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM string_to_table(split_part(before, '|', 3), ',') b JOIN string_to_table(split_part(after, '|', 3), ',') a ON split_part(a, ':', 1) = split_part(b, ':', 1)
                  WHERE split_part(b, ':', 4) <> '' AND split_part(a, ':', 4) = '' AND split_part(a, ':', 2) <> '0');
END
$$;
REVOKE ALL ON FUNCTION tidemark.lost_expression(text, text) FROM PUBLIC;

-- The columns of a shape, as a rewrite's record tells what was.
CREATE OR REPLACE FUNCTION tidemark.columns_of(shape text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN (SELECT jsonb_agg(jsonb_build_object('attnum', split_part(a, ':', 1)::int, 'typeOid', split_part(a, ':', 2)::bigint, 'typmod', split_part(a, ':', 3)::int, 'generated', split_part(a, ':', 4)))
            FROM string_to_table(split_part(shape, '|', 3), ',') a WHERE split_part(a, ':', 2) <> '0');
END
$$;
REVOKE ALL ON FUNCTION tidemark.columns_of(text) FROM PUBLIC;

-- Whether the table (`self`) or one of its columns (`columns`) has another name in the second of two shapes.
CREATE OR REPLACE FUNCTION tidemark.renamed(before text, after text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN CASE WHEN split_part(before, '|', 2) <> split_part(after, '|', 2) THEN 'self'
    WHEN EXISTS (SELECT FROM string_to_table(split_part(before, '|', 3), ',') b JOIN string_to_table(split_part(after, '|', 3), ',') a ON split_part(a, ':', 1) = split_part(b, ':', 1)
                  WHERE split_part(a, ':', 5) <> split_part(b, ':', 5) AND split_part(a, ':', 5) <> '') THEN 'columns' END;
END
$$;
REVOKE ALL ON FUNCTION tidemark.renamed(text, text) FROM PUBLIC;

-- Of serializable transactions: what reads and writes the records beside another one would be ended by the server, which would
-- not end it without us. So they read none, nor the list of identities, nor that of the publication: what a table or a type
-- was before the command is what the catalog had of it when the command began (tidemark.note_before). That it was what its
-- latest record says is compared later, by tidemark.repair(), from what is noted here in front of each record.

-- An object as the command found it: a table's shape and what it hung on, or a type's facts. `columns` is empty where the command made
-- it, and NULL where nobody looked: what the command neither named nor has below it, which it did not change.
CREATE OR REPLACE FUNCTION tidemark.before_command(wanted oid, OUT columns text, OUT parent bigint, OUT facts jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known jsonb := NULLIF(current_setting('tidemark.before', true), '')::jsonb -> wanted::text;
BEGIN
  IF known IS NOT NULL THEN
    columns := COALESCE(known ->> 'columns', '');
    parent := known ->> 'parent';
    facts := known -> 'facts';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.before_command(oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.note_unread(wanted oid, before text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO tidemark.unread (xid, oid, before) VALUES (pg_catalog.pg_current_xact_id()::text, wanted, before);
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_unread(oid, text) FROM PUBLIC;

-- A table's own record.
CREATE OR REPLACE FUNCTION tidemark.put_record(said text, wanted oid, parent oid, facts jsonb, shape text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
  VALUES (pg_catalog.pg_current_xact_id()::text, said, 'table', 'pg_class', wanted, parent, facts::text, shape);
END
$$;
REVOKE ALL ON FUNCTION tidemark.put_record(text, oid, oid, jsonb, text) FROM PUBLIC;

-- Records one table as it stands, with the command REPAIR where something before it has no record. In front of that what the
-- stream cannot tell of the change: values that it never had, and tables with values of this one's row type.
--   branched whether tables may hang on it
--   lost     whether a generated column of it became an ordinary one
CREATE OR REPLACE FUNCTION tidemark.record_state(tag text, wanted oid, OUT branched boolean, OUT lost boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  state record;
  latest record;
  said text;
  before jsonb;
  tended boolean := false;
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  earlier text;
BEGIN
  branched := false;
  lost := false;
  state := tidemark.table_state(wanted);
  earlier := state.shape;
  IF state.kind IS NULL OR state.kind NOT IN ('r', 'p') OR state.persistence = 't' OR state.space IN ('pg_catalog', 'information_schema', 'tidemark') THEN
    RETURN;
  END IF;
  -- Nearly every table has an identity that serves, and belongs to a publication of all tables.
  IF NOT (state.calm AND tidemark.publishes_all()) THEN
    tended := true;
    PERFORM tidemark.ensure_identity(wanted);
    said := tidemark.ensure_published(wanted, tag);
    state := tidemark.table_state(wanted);
  END IF;
  said := COALESCE(said, tag);
  branched := state.branched;
  IF beside THEN
    earlier := COALESCE((tidemark.before_command(wanted)).columns, earlier);
    PERFORM tidemark.note_unread(wanted, earlier);
    SELECT NULL::bigint AS id, NULLIF(earlier, '') AS columns INTO latest;
  ELSE
    SELECT d.id, d.columns INTO latest FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1;
  END IF;
  IF latest.columns <> state.shape THEN
    IF tidemark.differs('||' || split_part(latest.columns, '|', 3), '||' || split_part(state.shape, '|', 3)) THEN
      PERFORM tidemark.record_row_users(tag, wanted);
    END IF;
    IF latest.columns LIKE '%:s:%' OR latest.columns LIKE '%:v:%' THEN
      lost := tidemark.lost_expression(latest.columns, state.shape);
      before := tidemark.columns_of(latest.columns);
    ELSIF latest.columns NOT LIKE '%|%|%' THEN
      -- A record of version 1 has no shape.
      SELECT d.facts::jsonb -> 'columns' INTO before FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.kind = 'table' AND d.id = latest.id;
      lost := EXISTS (SELECT FROM jsonb_array_elements(before) b JOIN jsonb_array_elements(state.facts -> 'columns') a ON a -> 'attnum' = b -> 'attnum' WHERE b ->> 'generated' <> '' AND a ->> 'generated' = '');
    END IF;
    IF lost AND state.kind = 'r' AND state.persistence = 'p' THEN
      INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
      VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'rewrite', 'pg_class', wanted, jsonb_build_object('reason', 4, 'plain', false, 'before', before)::text);
    END IF;
    IF tidemark.untold(wanted, latest.id, latest.columns, state.shape) THEN
      said := 'REPAIR';
    END IF;
  -- Without a record: made by this transaction, or nobody knows when. No command writes the rows of the system's own columns again.
  ELSIF latest.id IS NULL AND NOT beside AND tag NOT IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') THEN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum = -1 AND age(a.xmin) > age(pg_catalog.pg_current_xact_id()::xid)) THEN
      said := 'REPAIR';
    END IF;
  END IF;
  -- A reading takes for recorded what subtransactions wrote up to the one that wrote the record: with what was given just now before
  -- it, that has to be a new one.
  IF tended THEN
    BEGIN
      PERFORM tidemark.put_record(said, wanted, state.parent, state.facts, state.shape);
    EXCEPTION WHEN OTHERS THEN
      RAISE;
    END;
  ELSE
    PERFORM tidemark.put_record(said, wanted, state.parent, state.facts, state.shape);
  END IF;
  -- What came unseen may have brought sequences along: its columns own them, or their defaults name them.
  IF said = 'REPAIR' THEN
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
    SELECT pg_catalog.pg_current_xact_id()::text, said, 'sequence', 'pg_class', q.oid, f::text
      FROM (SELECT d.objid AS oid FROM pg_catalog.pg_depend d
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = wanted AND d.refobjsubid > 0 AND d.deptype = 'a'
            UNION SELECT d.refobjid FROM pg_catalog.pg_attrdef e JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = e.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
             WHERE e.adrelid = wanted) q
      JOIN pg_catalog.pg_class c ON c.oid = q.oid AND c.relkind = 'S' CROSS JOIN LATERAL tidemark.sequence_facts(q.oid) f WHERE NOT (f ->> 'identity')::boolean;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_state(text, oid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.record_one(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM tidemark.record_state(tag, wanted);
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_one(text, oid) FROM PUBLIC;

-- Records what a command at a table did to those that inherit from it: of each one that it reached, the parts that this
-- transaction wrote and no more. Whole facts of hundreds of partitions would take longer than the command. `lost`: a
-- generated column of theirs became an ordinary one.
CREATE OR REPLACE FUNCTION tidemark.record_descendants(tag text, wanted oid, lost boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC' SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
  own xid := pg_catalog.pg_current_xact_id()::xid;
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  attached boolean;
  family oid[];
  reached oid[];
  whole oid[];
  one oid;
BEGIN
  -- What comes down from a table writes to the table first. Where nothing of it was written, the command can only have hung
  -- another one on it: the hundreds that hung there before need no look.
  attached := tag = 'ALTER TABLE' AND NOT (
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = wanted AND age(c.xmin) <= age(own))
    OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND age(a.xmin) <= age(own))
    OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = wanted AND age(k.xmin) <= age(own))
    OR EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = wanted AND age(x.xmin) <= age(own))
    OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = wanted AND age(g.xmin) <= age(own)));
  WITH RECURSIVE family(oid) AS (
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted AND (NOT attached OR age(i.xmin) <= age(own))
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
  SELECT array_agg(f.oid) INTO family FROM family f;
  IF family IS NULL THEN
    RETURN;
  END IF;
  SELECT array_agg(DISTINCT u.oid) INTO reached FROM (
    SELECT a.attrelid AS oid FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY (family) AND a.attnum > 0 AND age(a.xmin) <= age(own)
    UNION ALL SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY (family) AND age(k.xmin) <= age(own)
    -- One that was there and hangs on the parent's from now on is written in pg_class alone.
    UNION ALL SELECT x.indrelid FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid WHERE x.indrelid = ANY (family) AND (age(x.xmin) <= age(own) OR age(xc.xmin) <= age(own))
    UNION ALL SELECT g.tgrelid FROM pg_catalog.pg_trigger g WHERE g.tgrelid = ANY (family) AND age(g.xmin) <= age(own)
    -- One that nothing but its place changed for.
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted AND attached AND age(i.xmin) <= age(own)) u;
  IF reached IS NULL THEN
    RETURN;
  END IF;
  -- Without a record of its own, hung somewhere else since, without rows in a copy (partitioned, foreign, unlogged), or with an
  -- identity to see to: as a whole.
  SELECT array_agg(c.oid) INTO whole FROM pg_catalog.pg_class c
    LEFT JOIN LATERAL (
      (SELECT d.parent FROM tidemark.ddl d WHERE NOT beside AND d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1)
      UNION ALL SELECT b.parent FROM tidemark.before_command(c.oid) b WHERE beside) latest ON true
   WHERE c.oid = ANY (reached)
     AND (latest.parent IS DISTINCT FROM (SELECT i.inhparent::bigint FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1)
       OR c.relkind <> 'r' OR c.relpersistence <> 'p'
       OR c.relkind = 'r' AND CASE c.relreplident
            -- By the catalog alone: the server's own function opens the table, which is read anew behind each change of it.
            WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indimmediate AND x.indisvalid)
            -- Given where there was no key: one that came since may serve.
            WHEN 'f' THEN EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)
                       OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped)
            ELSE true END);
  IF whole IS NOT NULL THEN
    FOREACH one IN ARRAY whole LOOP
      PERFORM tidemark.record_one(tag, one);
      reached := array_remove(reached, one);
    END LOOP;
    IF reached = '{}' THEN
      RETURN;
    END IF;
  END IF;
  IF lost THEN
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
    SELECT pg_catalog.pg_current_xact_id()::text, tag, 'rewrite', 'pg_class', s.id, jsonb_build_object('reason', 4, 'plain', false, 'before', tidemark.columns_of(latest.columns))::text
      FROM tidemark.shapes(reached) s JOIN pg_catalog.pg_class c ON c.oid = s.id AND c.relkind = 'r' AND c.relpersistence = 'p'
      JOIN LATERAL (
        (SELECT d.columns FROM tidemark.ddl d WHERE NOT beside AND d.oid = s.id::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1)
        UNION ALL SELECT b.columns FROM tidemark.before_command(s.id) b WHERE beside) latest ON tidemark.lost_expression(latest.columns, s.shape);
  END IF;
  IF beside THEN
    INSERT INTO tidemark.unread (xid, oid, before) SELECT pg_catalog.pg_current_xact_id()::text, s.id, COALESCE((tidemark.before_command(s.id)).columns, s.shape) FROM tidemark.shapes(reached) s;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
  SELECT pg_catalog.pg_current_xact_id()::text,
         CASE WHEN s.since >= age(latest.xid::xid8::xid) THEN tag WHEN tidemark.untold(c.oid, latest.id, latest.columns, made.shape) THEN 'REPAIR' ELSE tag END,
         'descendant', 'pg_class', c.oid, latest.parent,
         json_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'replicaIdentity', c.relreplident,
           'columns', s.changed,
           'keyColumns', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND (x.indisprimary OR x.indisreplident) AND age(x.xmin) <= age(own)) THEN
              COALESCE((SELECT json_agg(a.attname ORDER BY k.place) FROM pg_catalog.pg_index x CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                WHERE x.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident END AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND k.place <= x.indnkeyatts), '[]') END,
           'gone', s.gone,
           'constraints', (SELECT json_agg(json_build_object('name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
                'index', CASE WHEN k.contype IN ('p', 'u', 'x') THEN (SELECT ic.relname FROM pg_catalog.pg_class ic WHERE ic.oid = k.conindid) END,
                'inherited', k.coninhcount > 0 AND NOT k.conislocal, 'hasParent', k.conparentid <> 0,
                'parentIndex', CASE WHEN k.contype IN ('p', 'u') THEN tidemark.parent_index(k.conindid) END))
              FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n' AND (made.renamed OR age(k.xmin) <= age(own))),
           'indexes', (SELECT json_agg(json_build_object('schema', xn.nspname, 'name', xc.relname, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid), 'clustered', x.indisclustered, 'identity', x.indisreplident,
                'statistics', CASE WHEN x.indexprs IS NOT NULL THEN (SELECT json_agg(json_build_object('column', a.attnum, 'target', a.attstattarget) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0) END,
                'parentIndex', CASE WHEN pi.relname IS NOT NULL THEN format('%I.%I', pin.nspname, pi.relname) END))
              FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid JOIN pg_catalog.pg_namespace xn ON xn.oid = xc.relnamespace
              LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = x.indexrelid LEFT JOIN pg_catalog.pg_class pi ON pi.oid = i.inhparent LEFT JOIN pg_catalog.pg_namespace pin ON pin.oid = pi.relnamespace
             WHERE x.indrelid = c.oid AND x.indisvalid AND (made.renamed OR age(x.xmin) <= age(own) OR age(xc.xmin) <= age(own))
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x'))))::text,
         made.shape
    FROM (SELECT a.attrelid AS id, string_agg(concat_ws(':', a.attnum, a.atttypid, a.atttypmod, a.attgenerated, CASE WHEN NOT a.attisdropped THEN left(md5(a.attname), 8) ELSE '' END, a.xmin), ',') AS columns,
                 COALESCE(min(age(a.xmin)) FILTER (WHERE age(a.xmin) > age(own)), 2147483647) AS since,
                 array_agg(a.attnum) FILTER (WHERE a.written AND NOT a.attisdropped) AS written, array_agg(left(md5(a.attname), 8)) FILTER (WHERE a.written AND NOT a.attisdropped) AS names,
                 json_agg(a.attnum) FILTER (WHERE a.written AND a.attisdropped) AS gone,
                 json_agg(json_build_object('attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
                   'type', format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
                   'default', CASE WHEN a.atthasdef THEN (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
                   'hasMissing', a.atthasmissing, 'missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
                   'collation', CASE WHEN a.attcollation <> (SELECT y.typcollation FROM pg_catalog.pg_type y WHERE y.oid = a.atttypid) THEN tidemark.collation_name(a.attcollation) END,
                   'storage', CASE WHEN a.attstorage <> (SELECT y.typstorage FROM pg_catalog.pg_type y WHERE y.oid = a.atttypid) THEN a.attstorage END, 'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END,
                   'statistics', CASE WHEN COALESCE(a.attstattarget, -1) >= 0 THEN a.attstattarget END, 'local', a.attislocal)) FILTER (WHERE a.written AND NOT a.attisdropped) AS changed
            FROM (SELECT t.attrelid, t.attnum, t.attname, t.atttypid, t.atttypmod, t.attnotnull, t.attidentity, t.attgenerated, t.atthasdef, t.atthasmissing, t.attmissingval, t.attcollation,
                         t.attstorage, t.attcompression, t.attstattarget, t.attislocal, t.attisdropped, t.xmin, age(t.xmin) <= age(own) AS written FROM pg_catalog.pg_attribute t
                   WHERE t.attrelid = ANY (reached) AND t.attnum > 0 ORDER BY t.attrelid, t.attnum) a GROUP BY a.attrelid) s
    JOIN pg_catalog.pg_class c ON c.oid = s.id JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN LATERAL (
      (SELECT d.id, d.xid, d.columns, d.parent FROM tidemark.ddl d WHERE NOT beside AND d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1)
      UNION ALL SELECT NULL, NULL, b.columns, b.parent FROM tidemark.before_command(c.oid) b WHERE beside) latest ON true
    CROSS JOIN LATERAL (SELECT concat_ws('|', c.relfilenode, md5(concat_ws('|', n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident)), s.columns) AS shape,
      -- Definitions name columns: with a new name all of them read anew.
      EXISTS (SELECT FROM unnest(s.written, s.names) AS w(attnum, name) WHERE latest.columns ~ ('[|,]' || w.attnum || ':') AND position(concat(':', w.name, ':') IN latest.columns) = 0) AS renamed
      -- Once for each, not wherever it is asked.
      OFFSET 0) made;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_descendants(text, oid, boolean) FROM PUBLIC;

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
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  family oid[] := ARRAY[wanted];
  rows oid[];
  types oid[];
  one oid;
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted) THEN
    WITH RECURSIVE family(oid) AS (SELECT wanted UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
    SELECT array_agg(f.oid) INTO family FROM family f;
  END IF;
  SELECT array_agg(c.reltype), array_agg(c.reltype) || array_agg(t.typarray) INTO rows, types FROM pg_catalog.pg_class c JOIN pg_catalog.pg_type t ON t.oid = c.reltype WHERE c.oid = ANY (family);
  -- Hardly any table's row type is used: most commands end here.
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = ANY (types) AND d.deptype = 'n'
                    AND d.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)) THEN
    RETURN;
  END IF;
  FOR one IN
    SELECT c.reltype FROM pg_catalog.pg_class c CROSS JOIN LATERAL tidemark.shapes(ARRAY[c.oid]) s
      CROSS JOIN LATERAL (
        (SELECT d.columns FROM tidemark.ddl d WHERE NOT beside AND d.oid = c.oid::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1)
        UNION ALL SELECT b.columns FROM tidemark.before_command(c.oid) b WHERE beside) latest
     WHERE c.reltype = ANY (rows) AND latest.columns LIKE '%|%|%' AND tidemark.differs('||' || split_part(latest.columns, '|', 3), '||' || split_part(s.shape, '|', 3))
  LOOP
    PERFORM tidemark.record_users(tag, one);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_row_users(text, oid) FROM PUBLIC;

-- Records what names an object that got another name, or whose columns did: views, defaults, constraints, policies and
-- functions are kept as text by whoever read them before. No more than some, of tables fewest: a command must not take
-- much longer than without us. `with_children`: those too that inherit from it; with another column they have their own record.
CREATE OR REPLACE FUNCTION tidemark.record_dependents(class oid, object oid, with_children boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  one record;
BEGIN
  FOR one IN
    WITH self(class, id) AS (
      SELECT record_dependents.class, record_dependents.object
      UNION SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, c.reltype FROM pg_catalog.pg_class c WHERE record_dependents.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = record_dependents.object AND c.reltype <> 0
    ), whole AS (
      SELECT s.class, s.id FROM self s
      UNION SELECT s.class, t.typarray FROM self s JOIN pg_catalog.pg_type t ON s.class = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = s.id AND t.typarray <> 0
    ), needing AS (
      SELECT DISTINCT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN whole w ON d.refclassid = w.class AND d.refobjid = w.id
    ), owner(class, id) AS (
      SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, w.ev_class FROM needing n JOIN pg_catalog.pg_rewrite w ON n.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = n.objid
      UNION SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, d.adrelid FROM needing n JOIN pg_catalog.pg_attrdef d ON n.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.oid = n.objid
      UNION SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, k.conrelid FROM needing n JOIN pg_catalog.pg_constraint k ON n.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = n.objid AND k.conrelid <> 0
      UNION SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, k.contypid FROM needing n JOIN pg_catalog.pg_constraint k ON n.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = n.objid AND k.contypid <> 0
      UNION SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, g.tgrelid FROM needing n JOIN pg_catalog.pg_trigger g ON n.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND g.oid = n.objid
      UNION SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, p.polrelid FROM needing n JOIN pg_catalog.pg_policy p ON n.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND p.oid = n.objid
      UNION SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, COALESCE(x.indrelid, n.objid) FROM needing n LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = n.objid WHERE n.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      UNION SELECT n.classid, n.objid FROM needing n WHERE n.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass))
    , found AS (SELECT o.class, o.id, c.relkind, c.reltype, row_number() OVER (PARTITION BY COALESCE(c.relkind IN ('r', 'p'), false) ORDER BY o.class, o.id) AS place FROM owner o
      LEFT JOIN pg_catalog.pg_class c ON o.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = o.id LEFT JOIN pg_catalog.pg_type t ON o.class = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = o.id
     WHERE (o.class, o.id) NOT IN (SELECT w.class, w.id FROM whole w)
       AND CASE WHEN o.class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c') AND c.relpersistence <> 't'
                WHEN o.class = 'pg_catalog.pg_type'::pg_catalog.regclass THEN t.typtype IN ('d', 'r') ELSE true END
       AND (with_children OR c.relkind IS NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = o.id AND i.inhparent = record_dependents.object)))
    SELECT f.class, f.id, f.relkind, f.reltype FROM found f WHERE f.place <= CASE WHEN f.relkind IN ('r', 'p') THEN 4 ELSE 24 END ORDER BY f.relkind IN ('r', 'p'), f.place
  LOOP
    BEGIN
      IF one.relkind IN ('r', 'p') THEN
        IF beside THEN
          INSERT INTO tidemark.unread (xid, oid, before) SELECT pg_catalog.pg_current_xact_id()::text, s.id, COALESCE((tidemark.before_command(s.id)).columns, s.shape) FROM tidemark.shapes(ARRAY[one.id]) s;
        END IF;
        INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
        SELECT pg_catalog.pg_current_xact_id()::text, CASE WHEN tidemark.untold(one.id, latest.id, latest.columns, s.shape) THEN 'REPAIR' ELSE 'DEPENDENT' END, 'table', 'pg_class', one.id, s.parent, tidemark.table_facts(one.id)::text, s.shape
          FROM tidemark.shapes(ARRAY[one.id]) s CROSS JOIN LATERAL (
            (SELECT d.id, d.columns FROM tidemark.ddl d WHERE NOT beside AND d.oid = one.id::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1)
            UNION ALL SELECT NULL, s.shape WHERE beside) latest;
      ELSIF one.relkind = 'c' THEN
        PERFORM tidemark.record_type('DEPENDENT', one.reltype);
      ELSIF one.class = 'pg_catalog.pg_type'::pg_catalog.regclass THEN
        PERFORM tidemark.record_type('DEPENDENT', one.id);
      ELSIF one.relkind = 'S' THEN
        INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) SELECT pg_catalog.pg_current_xact_id()::text, 'DEPENDENT', 'sequence', 'pg_class', one.id, f::text
          FROM tidemark.sequence_facts(one.id) f WHERE NOT (f ->> 'identity')::boolean;
      ELSE
        INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
        SELECT pg_catalog.pg_current_xact_id()::text, 'DEPENDENT', 'other', k.relname, one.id, jsonb_build_object('type', d ->> 'kind', 'identity', d ->> 'named', 'definition', d, 'rights', CASE WHEN r IS NOT NULL THEN jsonb_build_array(r) END)::text
          FROM pg_catalog.pg_class k CROSS JOIN LATERAL tidemark.definition(one.class, one.id) d LEFT JOIN LATERAL tidemark.rights(one.class, one.id) r ON true WHERE k.oid = one.class AND d IS NOT NULL;
      END IF;
    EXCEPTION WHEN OTHERS THEN
      IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
        RAISE;
      END IF;
      -- Kept as it was read before: whoever restores says that it names the older name.
      NULL;
    END;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_dependents(oid, oid, boolean) FROM PUBLIC;

-- Whether a command at a table may change those below it.
CREATE OR REPLACE FUNCTION tidemark.comes_down(tag text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN tag LIKE 'ALTER %' OR tag IN ('CREATE INDEX', 'CREATE TRIGGER', 'CREATE SCHEMA');
END
$$;
REVOKE ALL ON FUNCTION tidemark.comes_down(text) FROM PUBLIC;

-- The tables that a serializable transaction's ALTER TABLE took from below this one. DETACH … CONCURRENTLY is two transactions, and the
-- second one begins where that is done already: among the tables that it wrote.
CREATE OR REPLACE FUNCTION tidemark.detached(wanted oid) RETURNS SETOF oid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = on
AS $$
BEGIN
  RETURN QUERY
  SELECT c.oid FROM pg_catalog.pg_class c
   WHERE c.oid IN (SELECT b.key::oid FROM jsonb_each(NULLIF(current_setting('tidemark.before', true), '')::jsonb) b WHERE b.value ->> 'parent' = wanted::text)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = wanted);
  IF NOT FOUND AND current_query() ~* '\mdetach\M.*\mconcurrently\M' THEN
    RETURN QUERY
    SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.oid <> wanted AND age(c.xmin) <= age(pg_catalog.pg_current_xact_id()::xid);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.detached(oid) FROM PUBLIC;

-- Records a table that a command named, and what the command did beyond it.
CREATE OR REPLACE FUNCTION tidemark.record_table(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  done record;
  one oid;
  shapes text[];
  renamed text;
BEGIN
  done := tidemark.record_state(tag, wanted);
  IF tag = 'ALTER TABLE' THEN
    IF beside THEN
      shapes := ARRAY[(SELECT s.shape FROM tidemark.shapes(ARRAY[wanted]) s), (tidemark.before_command(wanted)).columns];
    ELSE
      -- By its last two records.
      SELECT array_agg(l.columns) INTO shapes FROM (SELECT d.columns FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 2) l;
    END IF;
    renamed := CASE WHEN shapes[2] LIKE '%|%|%' AND shapes[2] <> shapes[1] THEN tidemark.renamed(shapes[2], shapes[1]) END;
    IF renamed IS NOT NULL THEN
      PERFORM tidemark.record_dependents('pg_catalog.pg_class'::pg_catalog.regclass, wanted, renamed = 'self');
    END IF;
    -- The column is called so in all that inherit it: what names theirs, view by view.
    IF renamed = 'columns' AND done.branched THEN
      FOR one IN
        WITH RECURSIVE family(oid) AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted UNION SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid)
        SELECT f.oid FROM family f WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = f.oid AND d.deptype = 'n')
      LOOP
        PERFORM tidemark.record_dependents('pg_catalog.pg_class'::pg_catalog.regclass, one, false);
      END LOOP;
    END IF;
  END IF;
  IF NOT done.branched OR NOT tidemark.comes_down(tag) THEN
    RETURN;
  END IF;
  PERFORM tidemark.record_descendants(tag, wanted, done.lost);
  -- DETACH names the parent alone: tables that hung on this one when the command began, or by their latest record.
  IF tag = 'ALTER TABLE' AND beside THEN
    FOR one IN SELECT gone FROM tidemark.detached(wanted) gone LOOP
      PERFORM tidemark.record_one(tag, one);
    END LOOP;
  ELSIF tag = 'ALTER TABLE' THEN
    FOR one IN
      SELECT gone.oid FROM (SELECT DISTINCT d.oid::oid AS oid FROM tidemark.ddl d WHERE d.parent = wanted::bigint AND d.oid::oid NOT IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = wanted)) gone
       WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = gone.oid)
         AND wanted::bigint = (SELECT e.parent FROM tidemark.ddl e WHERE e.oid = gone.oid::bigint AND e.columns IS NOT NULL ORDER BY e.id DESC LIMIT 1)
    LOOP
      PERFORM tidemark.record_one(tag, one);
    END LOOP;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_table(text, oid) FROM PUBLIC;

-- Whether a type was changed by another transaction than this one, and no record tells it: the one that is made now would
-- hide that. `before` is its latest record.
CREATE OR REPLACE FUNCTION tidemark.type_untold(wanted oid, before jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN before IS NOT NULL AND (
    EXISTS (SELECT FROM pg_catalog.pg_enum e
             WHERE e.enumtypid = wanted AND age(e.xmin) > age(pg_catalog.pg_current_xact_id()::xid)
               AND NOT EXISTS (SELECT FROM jsonb_array_elements(COALESCE(NULLIF(before -> 'labels', 'null'), '[]')) b
                                WHERE b ->> 'oid' = e.oid::text AND b ->> 'label' = e.enumlabel))
    OR before ->> 'attributeShape' IS NOT NULL AND EXISTS (
      SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
       WHERE t.oid = wanted AND t.typtype = 'c' AND age(a.xmin) > age(pg_catalog.pg_current_xact_id()::xid)
         AND CASE WHEN a.attisdropped THEN EXISTS (SELECT FROM string_to_table(before ->> 'attributeShape', ',') b WHERE split_part(b, ':', 1) = a.attnum::text)
                  ELSE concat_ws(':', a.attnum, a.atttypid, a.atttypmod, a.attname) <> ALL (string_to_array(before ->> 'attributeShape', ',')) END));
END
$$;
REVOKE ALL ON FUNCTION tidemark.type_untold(oid, jsonb) FROM PUBLIC;

-- A renamed enum label or a changed composite type changes the text of rows that are stored.
CREATE OR REPLACE FUNCTION tidemark.record_type(tag text, wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  before jsonb;
  after jsonb := tidemark.type_facts(wanted);
  said text := tag;
BEGIN
  IF current_setting('transaction_isolation') = 'serializable' THEN
    -- What nobody looked at is as it was.
    before := CASE WHEN (tidemark.before_command(wanted)).columns IS NULL THEN after ELSE (tidemark.before_command(wanted)).facts END;
    PERFORM tidemark.note_unread(wanted, COALESCE(before::text, ''));
  ELSE
    before := (SELECT d.facts::jsonb FROM tidemark.ddl d WHERE d.oid = wanted::bigint AND d.kind = 'type' ORDER BY d.id DESC LIMIT 1);
    IF tidemark.type_untold(wanted, before) THEN
      said := 'REPAIR';
    END IF;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, said, 'type', 'pg_type', wanted, after::text);
  IF (after ->> 'type' = 'e' AND before -> 'labels' <> after -> 'labels' AND EXISTS (SELECT FROM jsonb_array_elements(before -> 'labels') b JOIN jsonb_array_elements(after -> 'labels') a ON a -> 'oid' = b -> 'oid' WHERE a -> 'label' <> b -> 'label'))
     -- A record from before has no shape.
     OR (after ->> 'type' = 'c' AND (before -> 'attributes' <> after -> 'attributes' OR before ->> 'attributeShape' <> after ->> 'attributeShape')) THEN
    PERFORM tidemark.record_users(said, wanted);
  END IF;
  -- Of a type without an earlier record nobody knows whether this gave it another name.
  IF tag IN ('ALTER TYPE', 'ALTER DOMAIN') AND (before IS NULL OR before -> 'name' <> after -> 'name' OR before -> 'schema' <> after -> 'schema' OR before -> 'attributes' <> after -> 'attributes') THEN
    PERFORM tidemark.record_dependents('pg_catalog.pg_type'::pg_catalog.regclass, wanted);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_type(text, oid) FROM PUBLIC;
