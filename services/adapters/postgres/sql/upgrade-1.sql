-- From version 1: older installations lack the last two columns.
ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS grantee text;
ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS granted text[] NOT NULL DEFAULT '{}';
