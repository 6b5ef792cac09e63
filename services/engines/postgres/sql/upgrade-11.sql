-- From version 11, which did not see what somebody took out of the publication and put back: compared from now on.
CREATE TABLE tidemark.published (
  -- Of a table; 0 stands for the publication itself.
  oid   bigint PRIMARY KEY,
  entry text NOT NULL
);
REVOKE ALL ON tidemark.published FROM PUBLIC;
INSERT INTO tidemark.published (oid, entry)
SELECT 0, concat_ws(':', p.oid, p.xmin) FROM pg_catalog.pg_publication p WHERE p.pubname = (SELECT publication FROM tidemark.installation)
UNION ALL SELECT r.prrelid, r.oid::text FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = (SELECT publication FROM tidemark.installation);
