-- A list publication, which PostgreSQL 18 needs where a table is left out, makes the server refuse SET UNLOGGED, and SET
-- EXPRESSION of a virtual column, for every table in it. Such a command's tables leave the list in front of it and are back
-- behind it: whoever reads the stream sees neither, for both are one transaction's. The text of the command is all that
-- there is at its start; what a function makes out of pieces is not seen, and is refused as before.
CREATE OR REPLACE FUNCTION tidemark.unlist(command text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  one record;
  unlisted oid[] := '{}';
BEGIN
  FOR one IN
    WITH RECURSIVE named(parts) AS (
      SELECT parse_ident(m[1], false) FROM regexp_matches(command, 'alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?((?:"(?:[^"]|"")+"|[^\s."(*;]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\s."(*;]+))?)', 'gi') m),
    family(oid) AS (
      SELECT c.oid FROM named JOIN pg_catalog.pg_class c ON c.relname = parts[array_upper(parts, 1)] JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND (array_length(parts, 1) = 1 OR n.nspname = parts[1])
       WHERE n.nspname <> 'tidemark'
      UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid)
    SELECT c.oid, n.nspname, c.relname, p.pubname, r.oid AS entry FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_publication_rel r ON r.prrelid = c.oid JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid AND p.pubname = (SELECT publication FROM tidemark.installation)
  LOOP
    EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %I.%I', one.pubname, one.nspname, one.relname);
    -- One that somebody had put there stays noted as it was: it is found as before.
    DELETE FROM tidemark.published w WHERE w.oid = one.oid::bigint AND w.entry = one.entry::text;
    unlisted := unlisted || one.oid;
  END LOOP;
  PERFORM set_config('tidemark.unlisted', array_to_string(unlisted, ','), true);
END
$$;
REVOKE ALL ON FUNCTION tidemark.unlist(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.list_again() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
  one record;
BEGIN
  IF COALESCE(current_setting('tidemark.unlisted', true), '') = '' THEN
    RETURN;
  END IF;
  FOR one IN
    SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY (string_to_array(current_setting('tidemark.unlisted'), ',')::oid[]) AND tidemark.is_streamed(c.oid) AND NOT EXISTS (SELECT FROM tidemark.published_as(c.oid))
  LOOP
    EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', (SELECT publication FROM tidemark.installation), one.nspname, one.relname);
    IF NOT EXISTS (SELECT FROM tidemark.published w WHERE w.oid = one.oid::bigint) THEN
      PERFORM tidemark.note_listed(one.oid);
    END IF;
  END LOOP;
  PERFORM set_config('tidemark.unlisted', '', true);
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  -- What is not back is a table that the publication leaves out: tend_identity finds it, and opens a gap.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.list_again() FROM PUBLIC;

CREATE OR REPLACE FUNCTION tidemark.on_alter_start() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
  IF current_query() ~* '\mset\s+(unlogged|expression)\M' AND NOT tidemark.publishes_all() THEN
    PERFORM tidemark.unlist(current_query());
  END IF;
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE = '40001' AND current_setting('transaction_isolation') = 'serializable' THEN
    RAISE;
  END IF;
  -- The server says itself what it refuses.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION tidemark.on_alter_start() FROM PUBLIC;
DROP EVENT TRIGGER IF EXISTS tidemark_alter_start;
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN
    ALTER FUNCTION tidemark.unlist(text) SET event_triggers = off;
    ALTER FUNCTION tidemark.list_again() SET event_triggers = off;
    CREATE EVENT TRIGGER tidemark_alter_start ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION tidemark.on_alter_start();
    ALTER EVENT TRIGGER tidemark_alter_start ENABLE ALWAYS;
  END IF;
END
$$;
