-- From version 19, in which serializable transactions that changed the schema beside each other read what the other one wrote: the server ended one of them.
CREATE TABLE tidemark.unread (
  id     bigint NOT NULL DEFAULT ((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint),
  xid    text NOT NULL,
  oid    bigint NOT NULL,
  before text NOT NULL,
  PRIMARY KEY (id, xid, oid)
);
REVOKE ALL ON tidemark.unread FROM PUBLIC;
