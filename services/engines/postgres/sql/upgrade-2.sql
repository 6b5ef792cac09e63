-- From version 2, which did not remember the identities that it gave: those stay as they are.
-- Replica identities that Tidemark gave: taken back once the table has a key, and by `tidemark uninstall`.
CREATE TABLE IF NOT EXISTS tidemark.identity (
  oid          bigint PRIMARY KEY,
  -- As in pg_class.relreplident: what Tidemark gave, and what the table had before.
  given        text NOT NULL,
  before       text NOT NULL,
  before_index text
);
-- Tables, as schema.table, whose FULL something else rests on: it stays although a key would serve.
CREATE TABLE IF NOT EXISTS tidemark.identity_kept (
  name text PRIMARY KEY
);
REVOKE ALL ON tidemark.identity, tidemark.identity_kept FROM PUBLIC;
