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
    FOR one IN SELECT c.oid, n.nspname, c.relname FROM tidemark.published_as(wanted) a JOIN pg_catalog.pg_class c ON c.oid = a JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LOOP
      EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', (SELECT publication FROM tidemark.installation), one.nspname, one.relname);
      PERFORM tidemark.note_listed(one.oid);
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
      PERFORM tidemark.note_listed(wanted);
    END IF;
    IF NOT published THEN
      PERFORM tidemark.note_joined(wanted, false);
    END IF;
    -- Where UPDATE and DELETE failed so far, or the identity did serve, the stream has everything: no gap.
    PERFORM tidemark.record_table(CASE WHEN told AND (NOT published OR state.serves OR state.fails) THEN 'IDENTITY' ELSE 'REPAIR' END, wanted);
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
