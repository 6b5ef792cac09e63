-- What the event triggers run: each DDL is recorded inside the user's transaction. By indexes, whatever the server knows of
-- the catalog's size: a plan that looks through a small catalog is kept for the session, while the catalog grows.

-- The table that an object belongs to: NULL for what is no part of a table. A statement for each class, so that only the
-- one that is asked is planned.
CREATE OR REPLACE FUNCTION tidemark.table_of(class oid, object oid) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  IF class = 'pg_catalog.pg_class'::pg_catalog.regclass THEN
    RETURN (SELECT CASE WHEN r.relkind IN ('r', 'p') THEN r.oid WHEN r.relkind IN ('i', 'I') THEN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indexrelid = r.oid) END FROM pg_catalog.pg_class r WHERE r.oid = object);
  ELSIF class = 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN
    RETURN (SELECT g.tgrelid FROM pg_catalog.pg_trigger g WHERE g.oid = object);
  ELSIF class = 'pg_catalog.pg_policy'::pg_catalog.regclass THEN
    RETURN (SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = object);
  ELSIF class = 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN
    RETURN (SELECT NULLIF(k.conrelid, 0) FROM pg_catalog.pg_constraint k WHERE k.oid = object);
  ELSIF class = 'pg_catalog.pg_rewrite'::pg_catalog.regclass THEN
    RETURN (SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = object);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.table_of(oid, oid) FROM PUBLIC;

-- The table whose identity column a sequence is a part of: NULL for any other sequence.
CREATE OR REPLACE FUNCTION tidemark.identity_table(sequence oid) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN (SELECT d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = sequence AND d.objsubid = 0
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'i');
END
$$;
REVOKE ALL ON FUNCTION tidemark.identity_table(oid) FROM PUBLIC;

-- The statements that make an object again which is neither a table nor a type nor a sequence: it may be gone before
-- anybody has read it. NULL where the server gives no definition.
CREATE OR REPLACE FUNCTION tidemark.definition(class oid, object oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
BEGIN
  -- It comes with its extension, and in its way alone.
  IF EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = class AND d.objid = object AND d.deptype = 'e') THEN
    RETURN NULL;
  ELSIF class = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
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
              || CASE WHEN c.relkind = 'm' THEN jsonb_build_object('populated', c.relispopulated) ELSE '{}' END
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = object AND c.relkind IN ('v', 'm') AND pg_catalog.pg_get_viewdef(c.oid) IS NOT NULL);
  ELSIF class = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', 'schema', 'schema', NULL, 'name', n.nspname, 'named', format('SCHEMA %I', n.nspname), 'owner', pg_catalog.pg_get_userbyid(n.nspowner),
              'create', format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname)) FROM pg_catalog.pg_namespace n WHERE n.oid = object);
  ELSIF class = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', 'statistics', 'schema', n.nspname, 'name', s.stxname, 'named', format('STATISTICS %I.%I', n.nspname, s.stxname), 'owner', pg_catalog.pg_get_userbyid(s.stxowner),
              'create', pg_catalog.pg_get_statisticsobjdef(s.oid)) FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.oid = object);
  ELSIF class = 'pg_catalog.pg_extension'::pg_catalog.regclass THEN
    RETURN (SELECT jsonb_build_object('kind', 'extension', 'schema', NULL, 'name', e.extname, 'named', format('EXTENSION %I', e.extname), 'owner', pg_catalog.pg_get_userbyid(e.extowner),
              'create', format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA %I CASCADE', e.extname, n.nspname)) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.oid = object);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.definition(oid, oid) FROM PUBLIC;

-- The rights of what the GRANT or REVOKE that just ran changed: the server names no object of these, but the rows that it
-- wrote are of this transaction, and written behind its latest record, or behind what it had written when the command
-- began. NULL for kinds whose rights are not recorded.
CREATE OR REPLACE FUNCTION tidemark.granted(kind text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = on
AS $$
DECLARE
  own xid := pg_catalog.pg_current_xact_id()::xid;
  since bigint := CASE WHEN current_setting('transaction_isolation') = 'serializable' THEN COALESCE((NULLIF(current_setting('tidemark.before', true), '')::jsonb ->> 'since')::bigint, -1)
    ELSE COALESCE((SELECT l.at FROM (SELECT d.xid, d.cmin::text::bigint AS at FROM tidemark.ddl d ORDER BY d.id DESC LIMIT 20) l
                    WHERE l.xid = pg_catalog.pg_current_xact_id()::text LIMIT 1), -1) END;
  said text COLLATE "C" := current_query();
  class oid;
  objects oid[];
BEGIN
  LOOP
    IF kind IN ('TABLE', 'SEQUENCE') THEN
      class := 'pg_catalog.pg_class'::pg_catalog.regclass;
      -- The text of nothing else, in letters that need no folding: the tables are among those that have one of its words as name.
      IF length(said) < 5000 AND said ~* '^(\s*(grant|revoke)\s[a-z0-9_$",.()\s]*(;|$))+\s*$' AND said !~* '\mall\s+(tables|sequences)\M' THEN
        SELECT array_agg(o.oid) INTO objects FROM pg_catalog.pg_class o
         WHERE o.relname = ANY (ARRAY(SELECT left(CASE WHEN m[1] LIKE '"%' THEN replace(substr(m[1], 2, length(m[1]) - 2), '""', '"') ELSE lower(m[1] COLLATE "C") END, 63)::name FROM regexp_matches(said, '"(?:[^"]|"")*"|[a-z0-9_$]+', 'gi') m))
           AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
           AND (age(o.xmin) <= age(own) AND o.cmin::text::bigint > since
             OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = o.oid AND age(a.xmin) <= age(own) AND a.cmin::text::bigint > since));
      END IF;
      -- Else one pass over the catalog: no index knows who wrote a row.
      IF objects IS NULL THEN
        SELECT array_agg(DISTINCT u.oid) INTO objects FROM (
          SELECT o.oid FROM pg_catalog.pg_class o WHERE age(o.xmin) <= age(own) AND o.cmin::text::bigint > since AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          UNION ALL SELECT a.attrelid FROM pg_catalog.pg_attribute a WHERE kind = 'TABLE' AND age(a.xmin) <= age(own) AND a.cmin::text::bigint > since) u;
      END IF;
    ELSIF kind IN ('FUNCTION', 'PROCEDURE', 'ROUTINE') THEN
      class := 'pg_catalog.pg_proc'::pg_catalog.regclass;
      SELECT array_agg(o.oid) INTO objects FROM pg_catalog.pg_proc o WHERE age(o.xmin) <= age(own) AND o.cmin::text::bigint > since;
    ELSIF kind IN ('TYPE', 'DOMAIN') THEN
      class := 'pg_catalog.pg_type'::pg_catalog.regclass;
      SELECT array_agg(o.oid) INTO objects FROM pg_catalog.pg_type o WHERE age(o.xmin) <= age(own) AND o.cmin::text::bigint > since;
    ELSIF kind = 'SCHEMA' THEN
      class := 'pg_catalog.pg_namespace'::pg_catalog.regclass;
      SELECT array_agg(o.oid) INTO objects FROM pg_catalog.pg_namespace o WHERE age(o.xmin) <= age(own) AND o.cmin::text::bigint > since;
    ELSE
      RETURN NULL;
    END IF;
    EXIT WHEN objects IS NOT NULL OR since < 0;
    -- A command with others in it, as CREATE SCHEMA: theirs are recorded in front of this, and were behind it.
    since := -1;
  END LOOP;
  RETURN (SELECT COALESCE(jsonb_agg(r) FILTER (WHERE r IS NOT NULL AND COALESCE(r ->> 'schema', r ->> 'name') <> 'tidemark'), '[]') FROM unnest(objects) o(id) CROSS JOIN LATERAL tidemark.rights(class, o.id) r);
END
$$;
REVOKE ALL ON FUNCTION tidemark.granted(text) FROM PUBLIC;

-- Records one object that a command named. The class is that of the object, also where its table's facts are recorded.
CREATE OR REPLACE FUNCTION tidemark.record_object(tag text, class oid, object oid, kind text, identity text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one oid;
  changed jsonb;
BEGIN
  IF kind = 'sequence' THEN
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) SELECT pg_catalog.pg_current_xact_id()::text, tag, 'sequence', 'pg_class', object, f::text
      FROM tidemark.sequence_facts(object) f WHERE f IS NOT NULL;
    IF tag LIKE 'ALTER %' THEN
      PERFORM tidemark.record_dependents(class, object);
    END IF;
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
  IF class IS NOT NULL THEN
    changed := tidemark.rights(class, object);
    changed := CASE WHEN changed IS NOT NULL THEN jsonb_build_array(changed) END;
  ELSIF tag IN ('GRANT', 'REVOKE') THEN
    changed := tidemark.granted(kind);
    -- Of ours, or nothing was changed.
    IF changed = '[]' THEN
      RETURN;
    END IF;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
  VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'other', (SELECT k.relname FROM pg_catalog.pg_class k WHERE k.oid = class), object,
    jsonb_build_object('type', kind, 'identity', identity, 'definition', tidemark.definition(class, object), 'rights', changed)::text);
  IF tag LIKE 'ALTER %' AND class IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass) THEN
    PERFORM tidemark.record_dependents(class, object);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_object(text, oid, oid, text, text) FROM PUBLIC;

-- The tables and types that the command names, and the tables below them where it may have changed those.
CREATE OR REPLACE FUNCTION tidemark.reached(tag text, OUT tables oid[], OUT types oid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  WITH RECURSIVE named AS MATERIALIZED (
    SELECT DISTINCT d.classid, d.objid FROM pg_catalog.pg_event_trigger_ddl_commands() d WHERE COALESCE(d.schema_name, '') <> 'tidemark'),
  family(oid) AS (
    SELECT COALESCE(tidemark.table_of(n.classid, n.objid), tidemark.identity_table(n.objid)) FROM named n
    UNION SELECT c.oid FROM named n JOIN pg_catalog.pg_class c ON n.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND c.relnamespace = n.objid AND c.relkind IN ('r', 'p')
    UNION SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid WHERE tidemark.comes_down(tag))
  SELECT (SELECT array_agg(f.oid) FROM family f WHERE f.oid IS NOT NULL),
         (SELECT array_agg(CASE WHEN n.classid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN n.objid ELSE (SELECT c.reltype FROM pg_catalog.pg_class c WHERE c.oid = n.objid AND c.relkind = 'c') END) FROM named n
           WHERE n.classid IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass))
    INTO reached.tables, reached.types;
END
$$;
REVOKE ALL ON FUNCTION tidemark.reached(text) FROM PUBLIC;

-- What these were before the command, for the rest of its recording in a serializable transaction. STABLE, and called by such functions
-- alone: it sees the catalog as the command found it, for whoever sees it as it is now to ask. `since`: the place of the latest
-- row that the transaction has in the catalogs of what is granted; one that it replaced since then shows another number.
CREATE OR REPLACE FUNCTION tidemark.note_before(tag text, tables oid[], types oid[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  family oid[];
  known jsonb;
  since bigint;
BEGIN
  WITH RECURSIVE below(oid) AS (SELECT unnest(tables) UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON i.inhparent = b.oid WHERE tidemark.comes_down(tag))
  SELECT array_agg(b.oid) INTO family FROM below b;
  SELECT COALESCE(jsonb_object_agg(f.oid::text, CASE WHEN s.id IS NULL THEN '{}' ELSE jsonb_build_object('columns', s.shape, 'parent', s.parent::bigint) END), '{}') INTO known
    FROM unnest(family) f(oid) LEFT JOIN tidemark.shapes(family) s ON s.id = f.oid;
  IF types IS NOT NULL THEN
    known := known || (SELECT COALESCE(jsonb_object_agg(t.oid::text, CASE WHEN f IS NULL THEN '{}' ELSE jsonb_build_object('facts', f) END), '{}') FROM unnest(types) t(oid) CROSS JOIN LATERAL tidemark.type_facts(t.oid) f WHERE t.oid IS NOT NULL);
  END IF;
  IF tag IN ('GRANT', 'REVOKE', 'CREATE SCHEMA') THEN
    SELECT max(w.cmin::text::bigint) INTO since FROM (
      SELECT o.cmin, o.xmin, o.xmax FROM pg_catalog.pg_class o UNION ALL SELECT o.cmin, o.xmin, o.xmax FROM pg_catalog.pg_attribute o UNION ALL SELECT o.cmin, o.xmin, o.xmax FROM pg_catalog.pg_proc o
      UNION ALL SELECT o.cmin, o.xmin, o.xmax FROM pg_catalog.pg_type o UNION ALL SELECT o.cmin, o.xmin, o.xmax FROM pg_catalog.pg_namespace o) w
     WHERE w.xmax = '0' AND age(w.xmin) <= age(pg_catalog.pg_current_xact_id()::xid);
    known := known || jsonb_build_object('since', since);
  END IF;
  PERFORM set_config('tidemark.before', known::text, true);
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_before(text, oid[], oid[]) FROM PUBLIC;

-- A failure of ours is never the user's. But for one (40001) that nothing of ours should bring any more: swallowed here, a serializable
-- transaction would commit without its record.
CREATE OR REPLACE FUNCTION tidemark.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off SET standard_conforming_strings = on
AS $$
DECLARE
  reached record;
BEGIN
  -- Our own ALTER inside another command, on servers that cannot switch event triggers off.
  IF current_setting('session_replication_role') = 'replica' AND current_setting('tidemark.altering', true) = 'on' THEN
    RETURN;
  END IF;
  IF current_setting('transaction_isolation') = 'serializable' THEN
    reached := tidemark.reached(tg_tag);
    PERFORM tidemark.note_before(tg_tag, reached.tables, reached.types);
  END IF;
  PERFORM tidemark.record_commands(tg_tag);
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  NULL;
END
$$;

-- Everything that the command did; `tag` is the command's.
CREATE OR REPLACE FUNCTION tidemark.record_commands(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
  affected oid;
  recorded oid[] := '{}';
BEGIN
  IF tag = 'ALTER TABLE' AND COALESCE(current_setting('tidemark.unlisted', true), '') <> '' THEN
    PERFORM tidemark.list_again();
  END IF;
  -- A serial column's sequence is made before it is altered, in whatever order its hashes lie; what is named for itself comes
  -- before the sequence of one of its columns.
  FOR c IN SELECT d.* FROM (SELECT DISTINCT classid, objid, object_type, command_tag, object_identity, in_extension, COALESCE(schema_name, '') AS schema_name
                              FROM pg_catalog.pg_event_trigger_ddl_commands()) d ORDER BY d.object_type = 'sequence', d.command_tag = 'ALTER SEQUENCE' LOOP
    CONTINUE WHEN c.schema_name LIKE 'pg\_temp%' OR c.schema_name = 'tidemark';
    -- Our own publication is no part of the application's schema. Planned where there is one to ask for.
    IF c.classid = 'pg_catalog.pg_publication'::pg_catalog.regclass OR c.classid = 'pg_catalog.pg_publication_rel'::pg_catalog.regclass THEN
      CONTINUE WHEN EXISTS (
        SELECT FROM tidemark.installation i JOIN pg_catalog.pg_publication p ON p.pubname = i.publication
         WHERE p.oid = c.objid OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.oid = c.objid AND r.prpubid = p.oid));
    END IF;
    BEGIN
      IF c.object_type = 'sequence' THEN
        -- Made, owned and altered by one command: one record.
        CONTINUE WHEN c.objid = ANY (recorded);
        recorded := recorded || c.objid;
        affected := tidemark.identity_table(c.objid);
        IF affected IS NULL THEN
          PERFORM tidemark.record_object(c.command_tag, c.classid, c.objid, c.object_type, c.object_identity);
          CONTINUE;
        END IF;
        -- The sequence of an identity column is a part of its table, with its name and options.
        IF affected <> ALL (recorded) THEN
          recorded := recorded || affected;
          PERFORM tidemark.record_one(c.command_tag, affected);
        END IF;
        IF c.command_tag LIKE 'ALTER %' THEN
          PERFORM tidemark.record_dependents(c.classid, c.objid);
        END IF;
        CONTINUE;
      END IF;
      affected := tidemark.table_of(c.classid, c.objid);
      IF affected IS NULL THEN
        -- Members come with their extension. Types are recorded for the text that rows have of their values.
        CONTINUE WHEN c.in_extension AND (c.classid IS NULL OR c.object_type NOT IN ('type', 'composite type', 'domain'));
        PERFORM tidemark.record_object(c.command_tag, c.classid, c.objid, c.object_type, c.object_identity);
      ELSIF affected <> ALL (recorded) THEN
        -- One command, one record of the table, however many of its parts it names.
        recorded := recorded || affected;
        IF tag = 'ALTER TABLE' AND length(current_query()) < 100000 AND current_query() ~* '\mreplica\s+identity\M' THEN
          PERFORM tidemark.note_chosen(affected);
        END IF;
        -- A new table's key is named as well: it is still a new table.
        PERFORM tidemark.record_table(CASE WHEN tag LIKE 'CREATE TABLE%' THEN tag ELSE c.command_tag END, affected);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
        RAISE;
      END IF;
      -- Never the user's failure. The next comparison of the catalog with the records finds what is missing here.
      NULL;
    END;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.record_commands(text) FROM PUBLIC;

-- What no record tells of a table that is dropped now: behind the drop nobody can see it any more, and the table's rows would
-- come back by what was recorded last. STABLE, so that it sees the catalog as it was when the command began; such a function may
-- not write, so it leaves the tables' OIDs to on_drop, which runs behind it (event triggers run in the order of their names).
CREATE OR REPLACE FUNCTION tidemark.on_before_drop() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off SET standard_conforming_strings = on
AS $$
DECLARE
  tables oid[];
  untold text;
BEGIN
  IF COALESCE(current_setting('tidemark.untold_drops', true), '') <> '' THEN
    PERFORM set_config('tidemark.untold_drops', '', true);
  END IF;
  SELECT array_agg(d.objid) INTO tables FROM pg_catalog.pg_event_trigger_dropped_objects() d
   WHERE d.object_type = 'table' AND NOT d.is_temporary AND d.schema_name <> 'tidemark';
  IF current_setting('transaction_isolation') = 'serializable' THEN
    -- Those too that lose a column.
    PERFORM tidemark.note_before(tg_tag, array_cat((SELECT array_agg(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = ANY (tables) AND c.relkind = 'r' AND c.relpersistence = 'p'),
      (SELECT array_agg(DISTINCT d.objid) FROM pg_catalog.pg_event_trigger_dropped_objects() d WHERE d.object_type = 'table column' AND NOT d.is_temporary)), NULL);
    RETURN;
  ELSIF tables IS NULL THEN
    RETURN;
  END IF;
  SELECT array_agg(c.oid) INTO tables FROM pg_catalog.pg_class c WHERE c.oid = ANY (tables) AND c.relkind = 'r' AND c.relpersistence = 'p';
  SELECT string_agg(s.id::text, ',') INTO untold
    FROM tidemark.shapes(tables) s
    LEFT JOIN LATERAL (SELECT d.columns FROM tidemark.ddl d WHERE d.oid = s.id::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1) latest ON true
   WHERE CASE WHEN latest.columns LIKE '%|%|%' THEN tidemark.differs(latest.columns, s.shape) OR tidemark.rewritten(latest.columns, s.shape)
              -- Without a record, and not of this transaction.
              WHEN latest.columns IS NULL THEN EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = s.id AND a.attnum = -1 AND age(a.xmin) > age(pg_catalog.pg_current_xact_id()::xid)) END;
  IF untold IS NOT NULL THEN
    PERFORM set_config('tidemark.untold_drops', untold, true);
  END IF;
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  -- What could not be compared may have changed.
  PERFORM set_config('tidemark.untold_drops', COALESCE(array_to_string(tables, ','), ''), true);
END
$$;

CREATE OR REPLACE FUNCTION tidemark.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off SET standard_conforming_strings = on
AS $$
DECLARE
  went record;
  one oid;
BEGIN
  SELECT COALESCE(bool_or(d.object_type = 'table column'), false) AS columns, COALESCE(bool_or(d.object_type = 'table constraint'), false) AS constraints, COALESCE(bool_or(d.object_type = 'index'), false) AS indexes,
         -- What a sequence or a function took with it, not what went with its own table.
         COALESCE(bool_or(d.object_type = 'default value' AND d.normal), false) AS defaults
    -- Up to PostgreSQL 14 a default value has no schema here.
    INTO went FROM pg_catalog.pg_event_trigger_dropped_objects() d WHERE NOT d.is_temporary AND COALESCE(d.schema_name, d.address_names[1], '') <> 'tidemark';
  -- ALTER TABLE records its table and what it reached at its end. Here: what other commands took from tables.
  IF (went.columns OR went.defaults) AND tg_tag <> 'ALTER TABLE' THEN
    FOR one IN
      SELECT DISTINCT c.oid FROM pg_catalog.pg_event_trigger_dropped_objects() d
        JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN d.object_type = 'table column' THEN d.objid WHEN d.object_type = 'default value' AND d.normal THEN to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid END
       WHERE NOT d.is_temporary AND c.relnamespace <> 'tidemark'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
      BEGIN
        PERFORM tidemark.record_one(tg_tag, one);
      EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
          RAISE;
        END IF;
        NULL;
      END;
    END LOOP;
  END IF;
  BEGIN
    IF went.constraints THEN
      -- Constraints of tables that the command does not name: their names are all that is told.
      INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
      SELECT pg_catalog.pg_current_xact_id()::text, tg_tag, 'descendant', 'pg_class', c.oid,
             json_build_object('oid', c.oid::bigint, 'schema', d.space, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'replicaIdentity', c.relreplident,
               'goneConstraints', d.names)::text
        FROM (SELECT to_regclass(format('%I.%I', o.address_names[1], o.address_names[2]))::oid AS oid, min(o.address_names[1]) AS space, json_agg(o.address_names[3]) AS names
                FROM pg_catalog.pg_event_trigger_dropped_objects() o WHERE o.object_type = 'table constraint' AND NOT o.is_temporary AND o.schema_name <> 'tidemark' GROUP BY 1) d
        JOIN pg_catalog.pg_class c ON c.oid = d.oid;
    END IF;
    IF current_setting('transaction_isolation') = 'serializable' THEN
      INSERT INTO tidemark.unread (xid, oid, before) SELECT pg_catalog.pg_current_xact_id()::text, d.objid, b.columns
        FROM pg_catalog.pg_event_trigger_dropped_objects() d CROSS JOIN LATERAL tidemark.before_command(d.objid) b WHERE d.object_type = 'table' AND NOT d.is_temporary AND b.columns <> '';
    END IF;
    -- A row that is written between DROP and CREATE of our own publication could not be sent: it would look like a hole.
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
    SELECT pg_catalog.pg_current_xact_id()::text,
           CASE WHEN d.object_type = 'table' AND d.objid = ANY (string_to_array(current_setting('tidemark.untold_drops', true), ',')::oid[]) THEN 'REPAIR' ELSE tg_tag END,
           'drop', d.classid::pg_catalog.regclass::text, d.objid,
           json_build_object('type', d.object_type, 'identity', d.object_identity, 'names', to_json(d.address_names))::text
      FROM pg_catalog.pg_event_trigger_dropped_objects() d
     WHERE NOT d.is_temporary AND COALESCE(d.schema_name, '') NOT IN ('tidemark', 'pg_toast')
       AND NOT (tg_tag = 'DROP PUBLICATION' AND COALESCE(current_setting('tidemark.listing', true), '') = 'on' AND d.object_type LIKE 'publication%')
       -- That a dropped table leaves our own publication is no change of the application's schema.
       AND NOT (tg_tag NOT LIKE '% PUBLICATION' AND d.object_type LIKE 'publication%' AND EXISTS (SELECT FROM tidemark.installation i WHERE d.object_identity = quote_ident(i.publication) OR d.object_identity LIKE '% in publication ' || quote_ident(i.publication)))
       -- Not what is a part of something that has its own record.
       AND d.object_type NOT IN ('table column', 'view column', 'foreign table column', 'composite type column', 'default value', 'table constraint', 'domain constraint', 'toast table',
         'operator of access method', 'function of access method');
  EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
      RAISE;
    END IF;
    NULL;
  END;
  -- What lost its identity gets one in the same command. By the catalog alone: the server's own function opens the table, and would
  -- wait for whoever has that one locked. That an index was a table's identity is all that is left to see of it.
  IF went.columns OR went.constraints OR went.indexes THEN
    FOR one IN
      SELECT c.oid FROM (
          SELECT DISTINCT to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid AS oid FROM pg_catalog.pg_event_trigger_dropped_objects() d WHERE d.object_type IN ('table constraint', 'table column') AND NOT d.is_temporary
          UNION SELECT r.oid FROM pg_catalog.pg_class r WHERE went.indexes AND r.relreplident = 'i') t
        JOIN pg_catalog.pg_class c ON c.oid = t.oid
       WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384 AND c.relreplident IN ('d', 'i')
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN x.indisprimary ELSE x.indisreplident END AND x.indimmediate AND x.indisvalid)
    LOOP
      BEGIN
        PERFORM tidemark.record_one(tg_tag, one);
      EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
          RAISE;
        END IF;
        NULL;
      END;
    END LOOP;
  END IF;
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  NULL;
END
$$;

-- A rewrite leaves no rows in the stream (hazard 25): say why it happened, and whether a USING may have changed values.
CREATE OR REPLACE FUNCTION tidemark.put_rewrite(tag text, earlier text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  latest record;
BEGIN
  IF earlier IS NOT NULL THEN
    SELECT NULL::text AS facts, earlier AS columns INTO latest;
  ELSE
    -- The catalog already shows the new columns; the table's latest record has the old ones.
    SELECT d.facts, d.columns INTO latest FROM tidemark.ddl d WHERE d.oid = pg_catalog.pg_event_trigger_table_rewrite_oid()::bigint AND d.columns IS NOT NULL ORDER BY d.id DESC LIMIT 1;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, tag, 'rewrite', 'pg_class', pg_catalog.pg_event_trigger_table_rewrite_oid(),
    jsonb_build_object('reason', pg_catalog.pg_event_trigger_table_rewrite_reason(),
      -- Only text that shows the whole command can show that it has no USING: nothing that calls further code.
      'plain', current_query() ~* '\malter\s+table\M' AND current_query() !~* '\m(using|do|call|select|execute|perform)\M',
      'before', CASE WHEN latest.columns LIKE '%|%|%' THEN
          tidemark.columns_of(latest.columns)
        ELSE latest.facts::jsonb -> 'columns' END)::text);
END
$$;
REVOKE ALL ON FUNCTION tidemark.put_rewrite(text, text) FROM PUBLIC;

-- STABLE, for the columns that a serializable transaction's command found.
CREATE OR REPLACE FUNCTION tidemark.on_rewrite() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off SET standard_conforming_strings = on
AS $$
BEGIN
  PERFORM tidemark.put_rewrite(tg_tag, CASE WHEN current_setting('transaction_isolation') = 'serializable' THEN
    (SELECT s.shape FROM tidemark.shapes(ARRAY[pg_catalog.pg_event_trigger_table_rewrite_oid()]) s) END);
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  NULL;
END
$$;

REVOKE ALL ON FUNCTION tidemark.on_ddl() FROM PUBLIC;
REVOKE ALL ON FUNCTION tidemark.on_before_drop() FROM PUBLIC;
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
    -- What other people's triggers write between DROP and CREATE of the publication could not be sent.
    ALTER FUNCTION tidemark.publish_list() SET event_triggers = off;
  ELSE
    EXECUTE format('ALTER FUNCTION %s SET session_replication_role = replica SET tidemark.altering = on', altering);
  END IF;
END
$$;
