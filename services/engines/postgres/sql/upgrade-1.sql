-- From version 1: older installations lack the last two columns.
ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS grantee text;
ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS granted text[] NOT NULL DEFAULT '{}';
-- Records without a sequence: theirs was the number before, and is far below any position of the WAL.
ALTER TABLE tidemark.ddl ALTER COLUMN id DROP IDENTITY IF EXISTS, ADD COLUMN class text, ADD COLUMN parent bigint,
  DROP CONSTRAINT ddl_pkey, ADD PRIMARY KEY (id, xid);
ALTER TABLE tidemark.ddl ALTER COLUMN id SET DEFAULT ((pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint);
CREATE INDEX ddl_by_parent ON tidemark.ddl (parent) WHERE parent IS NOT NULL;
