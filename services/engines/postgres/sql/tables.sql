-- What Tidemark puts into a source: one schema, owned by the installing administrator. `tidemark uninstall` removes it.
--
-- Safety: everything here is owned by the administrator, never by Tidemark's role (whoever owns a trigger function runs
-- as the administrator at the next DDL). The functions pin their search_path with pg_temp last (left out, it comes first,
-- and a temporary view of the user's would run as the administrator), name every relation with its schema, and execute
-- only identifiers quoted by format('%I'). Nobody but the owner may write the tables, so a record cannot be
-- forged. A failure inside a trigger function is swallowed: the user's DDL never fails because of us.

CREATE SCHEMA tidemark;
REVOKE ALL ON SCHEMA tidemark FROM PUBLIC;

-- Written inside the user's transaction: one row for what a DDL command names, and one for each object that it reached
-- beyond that. `class` and `oid` say which object of which catalog; the kind says what the facts are.
CREATE TABLE tidemark.ddl (
  -- Where the WAL stood: orders the records of one object, which commands reach one after another. A sequence would
  -- change what lastval() says in the user's session.
  id      bigint NOT NULL DEFAULT ((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint),
  xid     text NOT NULL,
  command text NOT NULL,
  kind    text NOT NULL,
  oid     bigint,
  facts   text,
  -- Of tables: tidemark.shapes() then. Compared with the catalog as it is, it shows what no record tells.
  columns text,
  class   text,
  -- Of tables: what it is a partition or a child of.
  parent  bigint,
  -- Of rows that tidemark.repair() wrote again: their xmin as the command left it, which says how far its subtransactions go.
  writer  text,
  PRIMARY KEY (id, xid)
);
CREATE INDEX ddl_by_object ON tidemark.ddl (oid, id);
CREATE INDEX ddl_by_parent ON tidemark.ddl (parent) WHERE parent IS NOT NULL;
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
-- The publication as Tidemark left it (tidemark.publication_entries): what somebody took out and put back looks the same otherwise.
CREATE TABLE tidemark.published (
  -- Of a table; 0 stands for the publication itself.
  oid   bigint PRIMARY KEY,
  entry text NOT NULL
);
-- What serializable transactions changed without a look at the record before: tidemark.repair() compares it.
CREATE TABLE tidemark.unread (
  -- As in tidemark.ddl: in front of the record that it belongs to.
  id     bigint NOT NULL DEFAULT ((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint),
  xid    text NOT NULL,
  oid    bigint NOT NULL,
  -- Of a table its shape, of a type its facts, as the command found them; empty where it made them.
  before text NOT NULL,
  PRIMARY KEY (id, xid, oid)
);
REVOKE ALL ON ALL TABLES IN SCHEMA tidemark FROM PUBLIC;
