-- How every table and type stands now: what the first change of each compares with.
INSERT INTO tidemark.ddl (xid, command, kind, class, oid, parent, facts, columns)
SELECT pg_catalog.pg_current_xact_id()::text, 'INIT', 'table', 'pg_class', s.id, s.parent, tidemark.table_facts(s.id)::text, s.shape
  FROM tidemark.shapes(ARRAY(SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                              WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark'))) s;
INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts)
SELECT pg_catalog.pg_current_xact_id()::text, 'INIT', 'type', 'pg_type', t.oid, tidemark.type_facts(t.oid)::text
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid
 WHERE t.typtype IN ('e', 'c') AND (t.typrelid = 0 OR r.relkind = 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark');
