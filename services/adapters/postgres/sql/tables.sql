-- What Tidemark puts into a source: one schema, owned by the installing administrator. `tidemark uninstall` removes it.
--
-- Safety: everything here is owned by the administrator, never by Tidemark's role (whoever owns a trigger function runs
-- as the administrator at the next DDL). The functions pin their search_path with pg_temp last (left out, it comes first,
-- and a temporary view of the user's would run as the administrator), name every relation with its schema, and execute
-- only identifiers quoted by format('%I'). Nobody but the owner may write the tables, so a record cannot be
-- forged. A failure inside a trigger function is swallowed: the user's DDL never fails because of us.

CREATE SCHEMA tidemark;
REVOKE ALL ON SCHEMA tidemark FROM PUBLIC;

-- One row per object that a DDL command touched, written inside the user's transaction.
CREATE TABLE tidemark.ddl (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid     text NOT NULL,
  command text NOT NULL,
  kind    text NOT NULL,
  oid     bigint,
  facts   text,
  -- Of tables: tidemark.fingerprint() then. Compared with the catalog as it is, it shows what no record tells.
  columns text
);
CREATE INDEX ddl_by_object ON tidemark.ddl (oid, id);
CREATE TABLE tidemark.marker (
  id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL
);
-- One row: whose installation this is.
CREATE TABLE tidemark.installation (
  stream      text PRIMARY KEY,
  publication text NOT NULL,
  slot        text NOT NULL,
  -- 'triggers', or 'polling' where event triggers and a publication of all tables were not to be had.
  mode        text NOT NULL,
  -- The role that init gave rights of the whole cluster to, and those that it did not have before.
  grantee     text,
  granted     text[] NOT NULL DEFAULT '{}'
);
-- Replica identities that Tidemark gave: taken back once the table has a key, and by `tidemark uninstall`.
CREATE TABLE tidemark.identity (
  oid          bigint PRIMARY KEY,
  -- As in pg_class.relreplident: what Tidemark gave, and what the table had before.
  given        text NOT NULL,
  before       text NOT NULL,
  before_index text
);
-- Tables, as schema.table, whose FULL something else rests on: it stays although a key would serve.
CREATE TABLE tidemark.identity_kept (
  name text PRIMARY KEY
);
REVOKE ALL ON ALL TABLES IN SCHEMA tidemark FROM PUBLIC;
