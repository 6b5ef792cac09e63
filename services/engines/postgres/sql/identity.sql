-- Replica identities. Published without one that serves, the application's own UPDATE and DELETE would fail (hazard 33).
-- What is given is remembered, so that it can be taken back: once the table has a key, and by `tidemark uninstall`.

-- Whether the publication has the values of stored generated columns, which it can from PostgreSQL 18 on. One that is not made
-- yet will have them where a table needs it.
CREATE OR REPLACE FUNCTION tidemark.publishes_stored() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN COALESCE((SELECT to_jsonb(p) ->> 'pubgencols' = 's' FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation)), true);
END
$$;
REVOKE ALL ON FUNCTION tidemark.publishes_stored() FROM PUBLIC;

-- What the identity of a table is and what it could be. Reads the catalog alone: waits for no lock, and nobody waits for it.
--   key     a primary key that serves: not deferrable, and no generated column in it (the stream would have half a key)
--   index   a unique index over columns that are NOT NULL that serves
--   whole   FULL serves: from PostgreSQL 18 on it does not where the table has virtual generated columns, and with stored
--           ones only while the publication has their values (set_identity sees to that)
--   serves  the identity that the table has now is whole in the stream
--   fails   published as it is, UPDATE and DELETE fail
CREATE OR REPLACE FUNCTION tidemark.identity_of(wanted oid, OUT current text, OUT key boolean, OUT index name, OUT whole boolean, OUT serves boolean, OUT fails boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
WITH usable AS (
  SELECT ic.relname AS name, x.indisprimary, x.indisreplident, x.indnkeyatts,
         bool_and(a.attnotnull) AS filled, bool_and(a.attgenerated = '') AS plain
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
    CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
   WHERE x.indrelid = wanted AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND k.place <= x.indnkeyatts
   GROUP BY x.indexrelid, ic.relname, x.indisprimary, x.indisreplident, x.indnkeyatts
), seen AS (
  SELECT c.relreplident::text AS current,
         -- Up to PostgreSQL 17 half a key does not fail; it is only of no use.
         current_setting('server_version_num')::int >= 180000 AS strict,
         current_setting('server_version_num')::int < 180000
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated NOT IN ('', 's')) AS whole,
         current_setting('server_version_num')::int < 180000
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's')
           OR tidemark.publishes_stored() AS held,
         (SELECT bool_or(u.plain) FROM usable u WHERE c.relreplident = 'd' AND u.indisprimary OR c.relreplident = 'i' AND u.indisreplident) AS plain
    FROM pg_catalog.pg_class c WHERE c.oid = wanted
)
SELECT s.current,
       EXISTS (SELECT FROM usable u WHERE u.indisprimary AND u.plain),
       (SELECT u.name FROM usable u WHERE u.filled AND u.plain ORDER BY u.indnkeyatts, u.name LIMIT 1),
       s.whole,
       CASE WHEN s.current = 'f' THEN s.whole AND s.held ELSE COALESCE(s.plain, false) END,
       CASE WHEN s.current = 'f' THEN NOT (s.whole AND s.held) WHEN s.strict THEN s.plain IS NOT TRUE ELSE s.plain IS NULL END
  FROM seen s
$$;
REVOKE ALL ON FUNCTION tidemark.identity_of(oid) FROM PUBLIC;

-- Which identity a table is to get: d, i, f, or NULL where none serves and the table has to be left out. An index can be
-- dropped like any other; where no event trigger sees that, FULL comes before it.
CREATE OR REPLACE FUNCTION tidemark.identity_for(wanted oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN i.key THEN 'd'
            WHEN i.index IS NOT NULL AND (NOT i.whole OR (SELECT mode <> 'polling' FROM tidemark.installation)) THEN 'i'
            WHEN i.whole THEN 'f' END
  FROM tidemark.identity_of(wanted) i
$$;
REVOKE ALL ON FUNCTION tidemark.identity_for(oid) FROM PUBLIC;

-- What Tidemark gave the table, asked by a serializable transaction: as a writer finds the row, which conflicts with no other
-- one's writing, and put back at once.
CREATE OR REPLACE FUNCTION tidemark.given_beside(wanted oid, OUT given text, OUT before text, OUT before_index text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO tidemark.identity AS g (oid, given, before) VALUES (wanted, '', '')
    ON CONFLICT (oid) DO UPDATE SET given = g.given RETURNING g.given, g.before, g.before_index INTO given_beside.given, given_beside.before, given_beside.before_index;
  RAISE EXCEPTION USING ERRCODE = 'TM001';
EXCEPTION WHEN SQLSTATE 'TM001' OR serialization_failure OR lock_not_available THEN
  -- Known, or given by `up` at this very moment: the next record of the table has it.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.given_beside(oid) FROM PUBLIC;

-- Whether the table has an identity of ours that its key makes needless. FULL makes every UPDATE and DELETE write the whole row.
CREATE OR REPLACE FUNCTION tidemark.identity_is_needless(wanted oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT COALESCE((SELECT i.key FROM tidemark.identity_of(wanted) i), false)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = wanted AND c.relreplident IN ('f', 'i') AND c.relreplident::text = CASE WHEN current_setting('transaction_isolation') = 'serializable' THEN (SELECT b.given FROM tidemark.given_beside(wanted) b)
   ELSE (SELECT g.given FROM tidemark.identity g WHERE g.oid = wanted::bigint) END
   AND NOT EXISTS (SELECT FROM tidemark.identity_kept k WHERE k.name = n.nspname || '.' || c.relname)
$$;
REVOKE ALL ON FUNCTION tidemark.identity_is_needless(oid) FROM PUBLIC;

-- Gives an identity, and remembers what was before. Waits a moment at most: whoever waits for this lock holds up every
-- reader that comes behind.
CREATE OR REPLACE FUNCTION tidemark.set_identity(wanted oid, target text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  one record;
  ours boolean;
BEGIN
  SELECT n.nspname, c.relname, c.relreplident::text AS current, (tidemark.identity_of(c.oid)).index AS index,
         (SELECT ic.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i') AS current_index
    INTO one FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = wanted;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY %s', one.nspname, one.relname,
    CASE target WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' ELSE format('USING INDEX %I', one.index) END);
  -- From PostgreSQL 18 on UPDATE and DELETE under FULL fail where a column is generated and not published. Other tables' rows get
  -- their stored ones as well from here on: whoever reads the stream looks at the columns that come with it.
  IF target = 'f' AND current_setting('server_version_num')::int >= 180000 AND NOT tidemark.publishes_stored()
    AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's') THEN
    ours := tidemark.is_publication_ours();
    EXECUTE format('ALTER PUBLICATION %I SET (publish_generated_columns = stored)', (SELECT publication FROM tidemark.installation));
    UPDATE tidemark.published w SET entry = e.entry FROM tidemark.publication_entries() e WHERE ours AND w.oid = 0 AND e.oid = 0;
  END IF;
  -- Where the table still has what Tidemark gave last, what was before that counts; else its owner has chosen anew.
  INSERT INTO tidemark.identity AS g (oid, given, before, before_index) VALUES (wanted, target, one.current, one.current_index)
    ON CONFLICT (oid) DO UPDATE SET given = EXCLUDED.given,
      before = CASE WHEN g.given = EXCLUDED.before THEN g.before ELSE EXCLUDED.before END,
      before_index = CASE WHEN g.given = EXCLUDED.before THEN g.before_index ELSE EXCLUDED.before_index END;
  -- Else tidemark.repair() does: a search would read what other serializable transactions write.
  IF current_setting('transaction_isolation') <> 'serializable' THEN
    DELETE FROM tidemark.identity g WHERE g.oid = wanted AND g.given = g.before AND g.given <> 'i';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.set_identity(oid, text) FROM PUBLIC;

-- A command that gives a table the identity that it has: from now on it is its owner's choice, and not what Tidemark gave. Only the
-- text of the command shows it.
CREATE OR REPLACE FUNCTION tidemark.note_chosen(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  has text;
BEGIN
  SELECT c.relreplident::text INTO has FROM pg_catalog.pg_class c
   WHERE c.oid = wanted
     -- Among the words in front of it, of one of the statements that were sent together.
     AND lower(c.relname) IN (SELECT w FROM string_to_table(lower(current_query()), ';') s CROSS JOIN regexp_split_to_table(substring(s FROM '^(.*)\mreplica\s+identity\M'), '[\s".,()*]+') w);
  IF has IS NULL THEN
    RETURN;
  ELSIF current_setting('transaction_isolation') = 'serializable' THEN
    -- A row that says nothing, until tidemark.repair() takes it away: a search would read what others of this isolation write.
    INSERT INTO tidemark.identity AS g (oid, given, before) VALUES (wanted, '', has) ON CONFLICT (oid) DO UPDATE SET given = '' WHERE g.given = EXCLUDED.before;
  ELSE
    DELETE FROM tidemark.identity g WHERE g.oid = wanted::bigint AND g.given = has;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION tidemark.note_chosen(oid) FROM PUBLIC;

-- Called inside the user's own command, for each table that it touched. In a repair, which is no user's, tend_identity sees
-- to identities instead: one table a transaction, so that no lock is held for long.
CREATE OR REPLACE FUNCTION tidemark.ensure_identity(wanted oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target text;
BEGIN
  IF current_setting('tidemark.repairing', true) = 'on' OR NOT tidemark.is_streamed(wanted) THEN
    RETURN;
  END IF;
  IF NOT (SELECT i.serves FROM tidemark.identity_of(wanted) i) THEN
    target := tidemark.identity_for(wanted);
  ELSIF tidemark.identity_is_needless(wanted)
    -- Only under the lock that the command holds already: another would stay until the user's transaction ends.
    AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.relation = wanted AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) THEN
    target := 'd';
  END IF;
  IF target IS NOT NULL THEN
    PERFORM tidemark.set_identity(wanted, target);
  END IF;
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  -- Locked, most likely: tend_identity tries again. What the command did is recorded all the same.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.ensure_identity(oid) FROM PUBLIC;
