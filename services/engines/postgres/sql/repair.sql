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

-- Compares what serializable transactions recorded with what was recorded before: a change between the two that no record tells
-- stands for a gap as well. Of each transaction the first look at an object counts: behind it the object is locked.
-- Returns whether something was recorded, and what could not be compared.
CREATE OR REPLACE FUNCTION tidemark.compare_unread(OUT recorded boolean, OUT failed text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  one record;
BEGIN
  recorded := false;
  failed := '{}';
  FOR one IN
    SELECT DISTINCT ON (u.oid, u.xid) u.oid, u.xid, u.before, own.kind, own.name, own.facts,
           CASE WHEN own.kind IS NULL THEN false
                WHEN own.kind = 'type' THEN u.before <> '' AND (earlier.facts -> 'labels' IS DISTINCT FROM u.before::jsonb -> 'labels' OR earlier.facts ->> 'attributeShape' IS DISTINCT FROM u.before::jsonb ->> 'attributeShape') AND earlier.facts IS NOT NULL
                WHEN u.before = '' THEN false
                WHEN earlier.columns LIKE '%|%|%' THEN tidemark.differs(earlier.columns, u.before) OR tidemark.rewritten(earlier.columns, u.before)
                ELSE true END AS untold
      FROM tidemark.unread u
      -- The record that belongs to it, which may have failed: then the latest one is not of how the object is now.
      LEFT JOIN LATERAL (
        SELECT d.kind, d.facts, CASE d.kind WHEN 'drop' THEN d.facts::jsonb ->> 'identity' ELSE format('%I.%I', d.facts::jsonb ->> 'schema', d.facts::jsonb ->> 'name') END AS name
          FROM tidemark.ddl d WHERE d.oid = u.oid AND d.xid = u.xid AND (d.columns IS NOT NULL OR d.kind IN ('type', 'drop')) ORDER BY d.id LIMIT 1) own ON true
      LEFT JOIN LATERAL (
        SELECT d.columns, CASE WHEN d.kind = 'type' THEN d.facts::jsonb END AS facts FROM tidemark.ddl d
         WHERE d.oid = u.oid AND d.id < u.id AND d.xid <> u.xid AND CASE own.kind WHEN 'type' THEN d.kind = 'type' ELSE d.columns IS NOT NULL END ORDER BY d.id DESC LIMIT 1) earlier ON true
     ORDER BY u.oid, u.xid, u.id
  LOOP
    BEGIN
      IF one.untold THEN
        recorded := true;
        IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = one.oid::oid) AND one.kind <> 'type' THEN
          PERFORM tidemark.record_one('REPAIR', one.oid::oid);
        ELSIF one.kind = 'type' THEN
          PERFORM tidemark.record_type('REPAIR', t.oid) FROM pg_catalog.pg_type t WHERE t.oid = one.oid::oid;
          PERFORM tidemark.record_users('REPAIR', t.oid) FROM pg_catalog.pg_type t WHERE t.oid = one.oid::oid;
        ELSE
          INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'drop', 'pg_class', one.oid,
            CASE WHEN one.kind = 'drop' THEN one.facts::jsonb
                 ELSE jsonb_build_object('type', 'table', 'identity', one.name, 'names', jsonb_build_array(one.facts::jsonb ->> 'schema', one.facts::jsonb ->> 'name')) END::text);
        END IF;
      END IF;
      DELETE FROM tidemark.unread u WHERE u.oid = one.oid AND u.xid = one.xid;
    EXCEPTION WHEN OTHERS THEN
      failed := failed || COALESCE(one.name, one.oid::text);
    END;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION tidemark.compare_unread() FROM PUBLIC;

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
  repaired boolean;
BEGIN
  PERFORM set_config('tidemark.repairing', 'on', true);
  SELECT u.recorded, u.failed INTO repaired, failed FROM tidemark.compare_unread() u;
  -- What a serializable transaction left of an identity that is back where it was.
  DELETE FROM tidemark.identity g WHERE g.given = '' OR g.given = g.before AND g.given <> 'i';
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
      UPDATE tidemark.ddl d SET columns = one.shape, parent = one.parent, writer = COALESCE(d.writer, d.xmin::text) WHERE d.id = one.record AND d.xid = one.xid;
      CONTINUE;
    END IF;
    BEGIN
      -- Without an identity that serves, the application's UPDATE and DELETE would fail: tend_identity gives one, and publishes then.
      IF installed.polling AND tidemark.is_streamed(one.id) AND (SELECT i.serves FROM tidemark.identity_of(one.id) i)
        AND NOT EXISTS (SELECT FROM tidemark.published_as(one.id)) THEN
        EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', installed.publication, one.nspname, one.relname);
        PERFORM tidemark.note_listed(one.id);
      END IF;
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
    -- The latest record of a child or a partition may be one of its parent's commands.
    SELECT DISTINCT ON (d.oid) d.oid AS id, d.facts::jsonb AS facts FROM tidemark.ddl d
     WHERE d.columns IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = 'drop' AND e.id > d.id)
     ORDER BY d.oid, d.id DESC
  LOOP
    INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts) VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'drop', 'pg_class', one.id,
      jsonb_build_object('type', 'table', 'identity', format('%I.%I', one.facts ->> 'schema', one.facts ->> 'name'), 'names', jsonb_build_array(one.facts ->> 'schema', one.facts ->> 'name'))::text);
    repaired := true;
  END LOOP;
  BEGIN
    repaired := tidemark.compare_publication() OR repaired;
  EXCEPTION WHEN lock_not_available THEN
    failed := failed || installed.publication::text;
  END;
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
  -- The latest shape of each table stays, of a dropped one until its drop is recorded: only it shows a drop without a record. So
  -- do the drop of a table that has a record above `below`, and the latest facts of each type that is there: a rewrite looks up what was.
  -- And all of an object that tidemark.repair() has yet to compare.
  WITH gone AS (DELETE FROM tidemark.ddl d WHERE d.xid::xid8 < below AND NOT EXISTS (SELECT FROM tidemark.unread u WHERE u.oid = d.oid) AND NOT (
         d.columns IS NOT NULL AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND (e.columns IS NOT NULL OR e.kind = 'drop') AND e.id > d.id)
         OR d.kind = 'drop' AND EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.columns IS NOT NULL AND e.id < d.id AND e.xid::xid8 >= below)
         OR d.kind = 'type' AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = d.oid) AND NOT EXISTS (SELECT FROM tidemark.ddl e WHERE e.oid = d.oid AND e.kind = d.kind AND e.id > d.id)) RETURNING 1)
  SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION tidemark.forget(xid8) FROM PUBLIC;
