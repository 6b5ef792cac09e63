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

-- Asked at every schema change: in PL/pgSQL, which plans it once in a session.
CREATE OR REPLACE FUNCTION tidemark.publishes_all() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN COALESCE((SELECT p.puballtables FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation)), false);
END
$$;
REVOKE ALL ON FUNCTION tidemark.publishes_all() FROM PUBLIC;

-- The publication in the catalog: each table of a list by the OID of its place there, and the publication itself by its OID and
-- the writer of its row, which neither VACUUM nor a freeze changes. What is made again, or changed and changed back, has another.
CREATE OR REPLACE FUNCTION tidemark.publication_entries() RETURNS TABLE (oid bigint, entry text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
WITH ours AS (SELECT p.oid, p.xmin AS writer FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation))
SELECT 0, concat_ws(':', o.oid, o.writer) FROM ours o
UNION ALL SELECT r.prrelid::bigint, r.oid::text FROM pg_catalog.pg_publication_rel r JOIN ours o ON o.oid = r.prpubid
$$;
REVOKE ALL ON FUNCTION tidemark.publication_entries() FROM PUBLIC;

-- Everything is as it is meant to be: behind changes of ours, and where all tables are read anew. May be called by Tidemark's role.
CREATE OR REPLACE FUNCTION tidemark.note_publication() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  DELETE FROM tidemark.published w WHERE NOT EXISTS (SELECT FROM tidemark.publication_entries() e WHERE e.oid = w.oid AND e.entry = w.entry);
  INSERT INTO tidemark.published (oid, entry) SELECT e.oid, e.entry FROM tidemark.publication_entries() e WHERE NOT EXISTS (SELECT FROM tidemark.published w WHERE w.oid = e.oid);
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_publication() FROM PUBLIC;

-- Behind a change of ours of one table's place: a record tells what may be missing of it, or nothing is.
CREATE OR REPLACE FUNCTION tidemark.note_listed(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF current_setting('transaction_isolation') = 'serializable' THEN
    -- A search would read what others of this isolation write: one that is in no list any more has no entry, as tidemark.repair() finds.
    INSERT INTO tidemark.published AS w (oid, entry)
    VALUES (wanted, COALESCE((SELECT r.oid::text FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
                               WHERE r.prrelid = wanted AND p.pubname = (SELECT publication FROM tidemark.installation)), ''))
      ON CONFLICT (oid) DO UPDATE SET entry = EXCLUDED.entry;
    RETURN;
  END IF;
  DELETE FROM tidemark.published w WHERE w.oid = wanted::bigint;
  INSERT INTO tidemark.published (oid, entry) SELECT r.prrelid, r.oid::text FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
   WHERE r.prrelid = wanted AND p.pubname = (SELECT publication FROM tidemark.installation);
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_listed(oid) FROM PUBLIC;

-- Whether the publication itself is the one that Tidemark left.
CREATE OR REPLACE FUNCTION tidemark.is_publication_ours() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM tidemark.published w JOIN pg_catalog.pg_publication p ON w.entry = concat_ws(':', p.oid, p.xmin)
                  WHERE w.oid = 0 AND p.pubname = (SELECT publication FROM tidemark.installation));
END
$$;
REVOKE ALL ON FUNCTION tidemark.is_publication_ours() FROM PUBLIC;

-- Records what somebody changed of the publication since it was last looked at, as a gap from there on: of tables that went and
-- came, whose rows between the stream does not have; and `altered` where that may be true of all tables and of the records of
-- schema changes. Where there is no publication the stream tells it, and what is not in it any more is a table that is left out.
CREATE OR REPLACE FUNCTION tidemark.compare_publication() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen record;
BEGIN
  WITH RECURSIVE differing AS (
    SELECT COALESCE(w.oid, e.oid) AS oid, e.entry FROM tidemark.published w FULL JOIN tidemark.publication_entries() e ON e.oid = w.oid WHERE w.entry IS DISTINCT FROM e.entry),
  -- A parent publishes its partitions.
  reached(oid) AS (
    SELECT d.oid::oid FROM differing d WHERE d.entry IS NOT NULL AND d.oid <> 0
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN reached r ON i.inhparent = r.oid JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
  SELECT EXISTS (SELECT FROM differing) AS differs,
         EXISTS (SELECT FROM differing d WHERE d.oid = 0 OR d.oid IN ('tidemark.ddl'::regclass::oid::bigint, 'tidemark.marker'::regclass::oid::bigint, 'tidemark.installation'::regclass::oid::bigint)) AS altered,
         (SELECT jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname) ORDER BY c.oid)
            FROM reached r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE tidemark.is_streamed(c.oid)) AS tables
    INTO seen;
  IF NOT seen.differs OR NOT EXISTS (SELECT FROM tidemark.publication_entries() e WHERE e.oid = 0) THEN
    RETURN false;
  END IF;
  PERFORM tidemark.note_publication();
  IF NOT seen.altered AND seen.tables IS NULL THEN
    RETURN false;
  END IF;
  INSERT INTO tidemark.ddl (xid, command, kind, class, facts)
  VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'publication', 'pg_publication', jsonb_build_object('altered', seen.altered, 'tables', COALESCE(seen.tables, '[]'))::text);
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION tidemark.compare_publication() FROM PUBLIC;

-- What every publication of ours says beside its tables. With the stored generated columns where the one that is there has
-- them, or a table with REPLICA IDENTITY FULL needs them.
CREATE OR REPLACE FUNCTION tidemark.publication_options() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  options text := 'publish = ''insert, update, delete, truncate'', publish_via_partition_root = false';
BEGIN
  IF current_setting('server_version_num')::int >= 180000 AND tidemark.publishes_stored()
    AND (EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation))
      OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's'
                  WHERE c.relreplident = 'f' AND tidemark.is_streamed(c.oid))) THEN
    options := options || ', publish_generated_columns = stored';
  END IF;
  RETURN options;
END
$$;
REVOKE ALL ON FUNCTION tidemark.publication_options() FROM PUBLIC;

-- Makes the publication anew as a list of every table whose UPDATE and DELETE work under it. In one transaction: whoever reads
-- the stream sees the old one up to here and the new one from here. Except for what transactions that are open now wrote
-- before: the server looks that up in the catalog as it was then, where the new publication has no table yet. Whether there
-- are such transactions is not asked: one may begin to write before this one commits. One record stands for all tables.
CREATE OR REPLACE FUNCTION tidemark.publish_list() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = on SET jit = off
AS $$
DECLARE
  wanted name := (SELECT i.publication FROM tidemark.installation i);
  replaces boolean := EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = wanted);
  beside boolean := current_setting('transaction_isolation') = 'serializable';
  before text := (SELECT concat_ws(':', p.oid, p.xmin) FROM pg_catalog.pg_publication p WHERE p.pubname = wanted);
  ours boolean := beside OR tidemark.is_publication_ours();
  tables text;
  published jsonb;
  options text := tidemark.publication_options();
BEGIN
  -- Nearly every table has a key that serves, which two sets tell at once: asked one by one, thousands would take seconds.
  WITH keyed AS MATERIALIZED (
    SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indisprimary AND x.indisvalid AND x.indimmediate),
  generated AS MATERIALIZED (
    SELECT DISTINCT a.attrelid FROM pg_catalog.pg_attribute a WHERE a.attgenerated <> '' AND a.attnum > 0 AND NOT a.attisdropped)
  SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname),
         jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname)) FILTER (WHERE n.nspname <> 'tidemark')
    INTO tables, published
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = 'tidemark' AND c.relname IN ('ddl', 'marker', 'installation')
      OR CASE WHEN c.relkind <> 'r' THEN false
              WHEN c.relreplident = 'd' AND c.oid IN (SELECT k.indrelid FROM keyed k) AND c.oid NOT IN (SELECT g.attrelid FROM generated g)
                THEN c.relpersistence = 'p' AND c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast')
              WHEN tidemark.is_streamed(c.oid) THEN NOT (SELECT i.fails FROM tidemark.identity_of(c.oid) i) END;
  PERFORM set_config('tidemark.listing', 'on', true);
  EXECUTE format('DROP PUBLICATION IF EXISTS %I', wanted);
  PERFORM set_config('tidemark.listing', '', true);
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE %s WITH (%s)', wanted, tables, options);
  IF beside THEN
    -- A search would read what others of this isolation write: as in note_listed(), and what is too much goes with the next look.
    INSERT INTO tidemark.published AS w (oid, entry) SELECT e.oid, e.entry FROM tidemark.publication_entries() e
      ON CONFLICT (oid) DO UPDATE SET entry = CASE WHEN w.oid = 0 AND w.entry <> COALESCE(before, '') THEN '' ELSE EXCLUDED.entry END;
  ELSE
    PERFORM tidemark.note_publication();
  END IF;
  IF replaces THEN
    -- What somebody did to the one before is found all the same.
    IF NOT ours THEN
      UPDATE tidemark.published SET entry = '' WHERE oid = 0;
    END IF;
    INSERT INTO tidemark.ddl (xid, command, kind, class, facts)
    VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'publication', 'pg_publication', jsonb_build_object('listed', true, 'tables', COALESCE(published, '[]'))::text);
  END IF;
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
    EXECUTE format('CREATE PUBLICATION %I FOR ALL TABLES WITH (%s)', (SELECT publication FROM tidemark.installation), tidemark.publication_options());
    PERFORM tidemark.note_publication();
  ELSE
    PERFORM tidemark.publish_list();
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.publish(boolean) FROM PUBLIC;

-- A table comes into the list with rows that were written before: they are in no stream. `made` by this very transaction, else
-- nobody knows since when it had been out of it.
CREATE OR REPLACE FUNCTION tidemark.note_joined(wanted oid, made boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO tidemark.ddl (xid, command, kind, class, facts)
  SELECT pg_catalog.pg_current_xact_id()::text, 'IDENTITY', 'publication', 'pg_publication',
         jsonb_build_object('joined', CASE WHEN made THEN 'made' ELSE 'there' END, 'tables', jsonb_build_array(jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname)))::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted;
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_joined(oid, boolean) FROM PUBLIC;

-- The table's place in the publication, inside the user's own command. The record of the command gets the name that is
-- returned, if any: `LEAVE OUT` stands for a gap, because rows of the table may pass unseen.
CREATE OR REPLACE FUNCTION tidemark.ensure_published(wanted oid, tag text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  state record;
  one record;
  said text;
BEGIN
  IF current_setting('tidemark.repairing', true) = 'on' OR (SELECT mode = 'polling' FROM tidemark.installation) OR NOT tidemark.is_streamed(wanted) THEN
    RETURN NULL;
  END IF;
  SELECT i.serves, i.fails, n.nspname, c.relname, s.publication INTO state
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN tidemark.identity_of(wanted) i CROSS JOIN tidemark.installation s WHERE c.oid = wanted;
  IF tidemark.publishes_all() THEN
    IF state.fails AND tidemark.identity_for(wanted) IS NULL THEN
      BEGIN
        PERFORM tidemark.publish_list();
      EXCEPTION WHEN serialization_failure THEN
        GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
        -- What has a detail ends the transaction. The other: the list was made, or looked at, since this transaction began.
        -- tend_identity sees to the table.
        IF said <> '' THEN
          RAISE;
        END IF;
        RETURN NULL;
      END;
      RETURN 'LEAVE OUT';
    END IF;
  ELSIF NOT EXISTS (SELECT FROM tidemark.published_as(wanted)) THEN
    IF state.serves THEN
      -- Whoever changes the list holds it until his transaction ends. Not longer than what a command may cost for us: `up` adds
      -- the table then, and it is read again.
      PERFORM set_config('lock_timeout', '5ms', true);
      EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', state.publication, state.nspname, state.relname);
      PERFORM tidemark.note_listed(wanted);
      -- Only a table that is new and empty has no rows that passed before.
      IF tag IN ('CREATE TABLE AS', 'SELECT INTO') THEN
        IF pg_catalog.pg_relation_size(wanted) > 0 THEN
          PERFORM tidemark.note_joined(wanted, true);
        END IF;
      ELSIF tag <> 'CREATE TABLE' THEN
        PERFORM tidemark.note_joined(wanted, false);
      END IF;
    ELSIF tag LIKE 'CREATE TABLE%' OR tag = 'SELECT INTO' THEN
      RETURN 'LEAVE OUT';
    END IF;
  ELSIF state.fails THEN
    FOR one IN SELECT c.oid, n.nspname, c.relname FROM tidemark.published_as(wanted) a JOIN pg_catalog.pg_class c ON c.oid = a JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LOOP
      EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', state.publication, one.nspname, one.relname);
      PERFORM tidemark.note_listed(one.oid);
    END LOOP;
    RETURN 'LEAVE OUT';
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  -- tend_identity tries again.
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_published(oid, text) FROM PUBLIC;
