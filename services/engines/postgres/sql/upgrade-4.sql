-- From version 4: what its trigger for ALTER TABLE did happens where the table is recorded. The functions that nothing calls
-- any more stay, empty: a session that is just about to run one finds it.
DROP EVENT TRIGGER IF EXISTS tidemark_alter;
CREATE OR REPLACE FUNCTION tidemark.on_alter() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN END $$;
REVOKE ALL ON FUNCTION tidemark.on_alter() FROM PUBLIC;

-- Versions 1 and 2 did not remember the identities that they gave. FULL in the record of the command that made a table is
-- theirs, because CREATE TABLE cannot say it: noted now, so that it is taken back where a key makes it needless. Of the
-- others nobody knows whose they are; `doctor` names them.
INSERT INTO tidemark.identity (oid, given, before)
SELECT DISTINCT d.oid, 'f', 'd' FROM tidemark.ddl d JOIN pg_catalog.pg_class c ON c.oid = d.oid::oid AND c.relkind = 'r' AND c.relreplident = 'f'
 WHERE d.kind = 'table' AND d.command IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') AND d.facts::jsonb ->> 'replicaIdentity' = 'f'
ON CONFLICT DO NOTHING;
