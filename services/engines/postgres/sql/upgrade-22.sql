-- From version 22, in which a record that was written again took what subtransactions had changed without one for its own.
ALTER TABLE tidemark.ddl ADD COLUMN writer text;
