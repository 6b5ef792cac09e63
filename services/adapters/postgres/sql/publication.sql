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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted name := (SELECT i.publication FROM tidemark.installation i);
  replaces boolean := EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = wanted);
  tables text;
  published jsonb;
  options text := tidemark.publication_options();
BEGIN
  SELECT string_agg(format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname),
         jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname)) FILTER (WHERE n.nspname <> 'tidemark')
    INTO tables, published
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = 'tidemark' AND c.relname IN ('ddl', 'marker', 'installation')
      OR CASE WHEN tidemark.is_streamed(c.oid) THEN NOT (SELECT i.fails FROM tidemark.identity_of(c.oid) i) END;
  PERFORM set_config('tidemark.listing', 'on', true);
  EXECUTE format('DROP PUBLICATION IF EXISTS %I', wanted);
  PERFORM set_config('tidemark.listing', '', true);
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE %s WITH (%s)', wanted, tables, options);
  IF replaces THEN
    INSERT INTO tidemark.ddl (xid, command, kind, class, facts)
    VALUES (pg_catalog.pg_current_xact_id()::text, 'REPAIR', 'publication', 'pg_publication', jsonb_build_object('tables', COALESCE(published, '[]'))::text);
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
