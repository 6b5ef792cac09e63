-- One object of each kind that a database can hold, in the states that a restore has to keep. Parts that need a newer
-- server stand behind "-- since N". ROLE_A, ROLE_B and ROLE_C are roles of this test's own.
CREATE SCHEMA app AUTHORIZATION ROLE_A;
COMMENT ON SCHEMA app IS 'the application''s';
GRANT USAGE ON SCHEMA app TO ROLE_B WITH GRANT OPTION;
SET ROLE ROLE_B; GRANT USAGE ON SCHEMA app TO ROLE_C; RESET ROLE;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO ROLE_A;

-- Types.
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'happy');
REVOKE USAGE ON TYPE app.mood FROM PUBLIC;
GRANT USAGE ON TYPE app.mood TO ROLE_B WITH GRANT OPTION;
COMMENT ON TYPE app.mood IS 'how it goes';
CREATE DOMAIN app.positive AS int DEFAULT 1 CONSTRAINT filled NOT NULL CONSTRAINT pos CHECK (VALUE > 0);
ALTER DOMAIN app.positive ADD CONSTRAINT small CHECK (VALUE < 1000) NOT VALID;
COMMENT ON DOMAIN app.positive IS 'above zero';
COMMENT ON CONSTRAINT pos ON DOMAIN app.positive IS 'really';
GRANT USAGE ON DOMAIN app.positive TO ROLE_B;
CREATE COLLATION app.german (PROVIDER = libc, LC_COLLATE = 'C', LC_CTYPE = 'C');
COMMENT ON COLLATION app.german IS 'not really';
CREATE TYPE app.pair AS (a text COLLATE app.german, b numeric(10,2), c app.mood);
COMMENT ON TYPE app.pair IS 'two and one';
COMMENT ON COLUMN app.pair.b IS 'money';
ALTER TYPE app.pair OWNER TO ROLE_A;
CREATE FUNCTION app.textdiff(text, text) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT length($1)::float8 - length($2)';
CREATE TYPE app.textrange AS RANGE (SUBTYPE = text, COLLATION = app.german, SUBTYPE_DIFF = app.textdiff);
CREATE TYPE app.span AS RANGE (SUBTYPE = int, MULTIRANGE_TYPE_NAME = app.spans);
ALTER TYPE app.span OWNER TO ROLE_A;
CREATE TYPE app.shell;
CREATE TYPE app.point3;
CREATE FUNCTION app.point3_in(cstring) RETURNS app.point3 LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION app.point3_out(app.point3) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE app.point3 (INPUT = app.point3_in, OUTPUT = app.point3_out, INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = extended, CATEGORY = 'Q', PREFERRED = false, DEFAULT = 'origin', DELIMITER = ';');
COMMENT ON TYPE app.point3 IS 'a base type';

-- Routines, operators and what stands on them.
CREATE FUNCTION app.add(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE COST 5 AS 'SELECT a + b';
COMMENT ON FUNCTION app.add(int, int) IS 'adds';
REVOKE ALL ON FUNCTION app.add(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.add(int, int) TO ROLE_B WITH GRANT OPTION;
SET ROLE ROLE_B; GRANT EXECUTE ON FUNCTION app.add(int, int) TO ROLE_C; RESET ROLE;
CREATE FUNCTION app.powerless() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION app.powerless() OWNER TO ROLE_A;
REVOKE EXECUTE ON FUNCTION app.powerless() FROM ROLE_A;
CREATE FUNCTION app.opened() RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT EXECUTE ON FUNCTION app.opened() TO ROLE_A;
CREATE FUNCTION app.atomic(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x + 1; END;
CREATE PROCEDURE app.act(INOUT x int) LANGUAGE plpgsql AS $$ BEGIN x := x + 1; END $$;
COMMENT ON PROCEDURE app.act(int) IS 'acts';
CREATE FUNCTION app.sum_step(s bigint, x int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT s + x';
CREATE FUNCTION app.sum_final(s bigint) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT s::text';
CREATE AGGREGATE app.total(int) (SFUNC = app.sum_step, STYPE = bigint, FINALFUNC = app.sum_final, INITCOND = '0', PARALLEL = SAFE);
CREATE AGGREGATE app.moving(int) (SFUNC = app.sum_step, STYPE = bigint, INITCOND = '0', MSFUNC = app.sum_step, MINVFUNC = app.sum_step, MSTYPE = bigint, MINITCOND = '0', FINALFUNC_MODIFY = READ_WRITE);
CREATE AGGREGATE app.pick(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
COMMENT ON AGGREGATE app.total(int) IS 'a sum';
REVOKE ALL ON FUNCTION app.total(int) FROM PUBLIC;
ALTER AGGREGATE app.total(int) OWNER TO ROLE_A;
CREATE FUNCTION app.abs_lt(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) < abs($2)';
CREATE FUNCTION app.abs_gt(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) > abs($2)';
CREATE FUNCTION app.abs_eq(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) = abs($2)';
CREATE FUNCTION app.abs_cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp(abs($1), abs($2))';
CREATE FUNCTION app.abs_hash(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT hashint4(abs($1))';
CREATE OPERATOR app.|<| (LEFTARG = int, RIGHTARG = int, FUNCTION = app.abs_lt, COMMUTATOR = OPERATOR(app.|>|), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR app.|>| (LEFTARG = int, RIGHTARG = int, FUNCTION = app.abs_gt, COMMUTATOR = OPERATOR(app.|<|));
CREATE OPERATOR app.|=| (LEFTARG = int, RIGHTARG = int, FUNCTION = app.abs_eq, COMMUTATOR = OPERATOR(app.|=|), HASHES, MERGES);
CREATE OPERATOR app.!! (RIGHTARG = int, FUNCTION = app.abs_hash);
COMMENT ON OPERATOR app.|=| (int, int) IS 'equal but for the sign';
CREATE OPERATOR FAMILY app.abs_family USING btree;
CREATE OPERATOR CLASS app.abs_ops FOR TYPE int USING btree FAMILY app.abs_family AS OPERATOR 1 app.|<|, OPERATOR 3 app.|=|, OPERATOR 5 app.|>|, FUNCTION 1 app.abs_cmp(int, int);
CREATE OPERATOR CLASS app.abs_hash_ops FOR TYPE int USING hash AS OPERATOR 1 app.|=|, FUNCTION 1 app.abs_hash(int);
ALTER OPERATOR FAMILY app.abs_family USING btree ADD OPERATOR 1 < (int, bigint), FUNCTION 1 (int, bigint) btint48cmp(int, bigint);
COMMENT ON OPERATOR CLASS app.abs_ops USING btree IS 'without a sign';
COMMENT ON OPERATOR FAMILY app.abs_family USING btree IS 'a family';
ALTER OPERATOR CLASS app.abs_ops USING btree OWNER TO ROLE_A;
CREATE FUNCTION app.mood_int(app.mood) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
CREATE CAST (app.mood AS int) WITH FUNCTION app.mood_int(app.mood) AS ASSIGNMENT;
CREATE CAST (int AS app.mood) WITH INOUT;
CREATE CAST (app.positive AS bigint) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (app.mood AS int) IS 'to a number';
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION app.latin IS 'old';
CREATE TRUSTED LANGUAGE other HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator;
COMMENT ON LANGUAGE other IS 'another';
REVOKE ALL ON LANGUAGE other FROM PUBLIC;
GRANT USAGE ON LANGUAGE other TO ROLE_B;
CREATE FUNCTION app.from_sql(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT AS 'prsd_lextype';
CREATE TRANSFORM FOR app.mood LANGUAGE other (FROM SQL WITH FUNCTION app.from_sql(internal));
COMMENT ON TRANSFORM FOR app.mood LANGUAGE other IS 'a transform';
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD other_heap IS 'the same heap';

-- Text search.
CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH DICTIONARY app.dictionary (TEMPLATE = pg_catalog.simple, STOPWORDS = english, ACCEPT = 'false');
ALTER TEXT SEARCH DICTIONARY app.dictionary OWNER TO ROLE_A;
CREATE TEXT SEARCH CONFIGURATION app.search (PARSER = pg_catalog."default");
ALTER TEXT SEARCH CONFIGURATION app.search ADD MAPPING FOR asciiword, word WITH app.dictionary, simple;
ALTER TEXT SEARCH CONFIGURATION app.search OWNER TO ROLE_A;
COMMENT ON TEXT SEARCH CONFIGURATION app.search IS 'a configuration';
COMMENT ON TEXT SEARCH DICTIONARY app.dictionary IS 'a dictionary';
COMMENT ON TEXT SEARCH PARSER app.parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE app.template IS 'a template';

-- Sequences and tables.
CREATE SEQUENCE app.numbers AS int START WITH 5 INCREMENT BY 3 CACHE 2;
COMMENT ON SEQUENCE app.numbers IS 'counts';
GRANT USAGE, SELECT ON SEQUENCE app.numbers TO ROLE_B WITH GRANT OPTION;
-- since 15
CREATE UNLOGGED SEQUENCE app.volatile;
-- since 14
CREATE TABLE app.people (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'x', mood app.mood, age app.positive, data jsonb, place point, twice int GENERATED ALWAYS AS (id * 2) STORED) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 77);
ALTER TABLE app.people OWNER TO ROLE_A;
ALTER TABLE app.people ALTER name SET STATISTICS 500, ALTER name SET (n_distinct = -0.5, n_distinct_inherited = -0.25), ALTER data SET STORAGE EXTERNAL;
ALTER TABLE app.people ADD CONSTRAINT aged CHECK (age < 200) NO INHERIT;
CREATE INDEX people_name ON app.people (lower(name), id) WITH (fillfactor = 50) WHERE id > 0;
ALTER INDEX app.people_name ALTER COLUMN 1 SET STATISTICS 300;
CREATE UNIQUE INDEX people_mood ON app.people (id, mood);
CREATE INDEX people_abs ON app.people (id app.abs_ops);
ALTER TABLE app.people CLUSTER ON people_mood;
COMMENT ON TABLE app.people IS 'who';
COMMENT ON COLUMN app.people.name IS 'called';
COMMENT ON CONSTRAINT aged ON app.people IS 'a check';
COMMENT ON CONSTRAINT people_pkey ON app.people IS 'a key';
COMMENT ON INDEX app.people_name IS 'an index';
CREATE STATISTICS app.stats (dependencies, ndistinct) ON name, mood FROM app.people;
ALTER STATISTICS app.stats SET STATISTICS 99;
COMMENT ON STATISTICS app.stats IS 'extended';
ALTER STATISTICS app.stats OWNER TO ROLE_A;
CREATE FUNCTION app.trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER quiet BEFORE INSERT ON app.people FOR EACH ROW EXECUTE FUNCTION app.trigger();
ALTER TABLE app.people DISABLE TRIGGER quiet;
CREATE TRIGGER always BEFORE UPDATE OF name ON app.people FOR EACH ROW WHEN (NEW.name <> 'q') EXECUTE FUNCTION app.trigger('a''b');
ALTER TABLE app.people ENABLE ALWAYS TRIGGER always;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.trigger();
COMMENT ON TRIGGER quiet ON app.people IS 'a trigger';
CREATE RULE silent AS ON DELETE TO app.people DO NOTHING;
ALTER TABLE app.people DISABLE RULE silent;
CREATE RULE loud AS ON UPDATE TO app.people WHERE OLD.id = -1 DO INSTEAD NOTHING;
ALTER TABLE app.people ENABLE ALWAYS RULE loud;
COMMENT ON RULE silent ON app.people IS 'a rule';
CREATE POLICY own ON app.people FOR SELECT TO ROLE_B USING (name = current_user);
COMMENT ON POLICY own ON app.people IS 'a policy';
ALTER TABLE app.people ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON app.people TO ROLE_B WITH GRANT OPTION;
GRANT UPDATE (name), SELECT (id) ON app.people TO ROLE_C WITH GRANT OPTION;
SET ROLE ROLE_B; GRANT SELECT ON app.people TO ROLE_C; RESET ROLE;
SET ROLE ROLE_C; GRANT UPDATE (name) ON app.people TO PUBLIC; RESET ROLE;
REVOKE DELETE, TRUNCATE ON app.people FROM ROLE_A;
GRANT USAGE ON SEQUENCE app.people_id_seq TO ROLE_B;
CREATE TABLE app.parent (id int, v text, CONSTRAINT positive CHECK (id > 0));
CREATE TABLE app.child (more int) INHERITS (app.parent);
CREATE TABLE app.swapped (v text, id int, CONSTRAINT positive CHECK (id > 0));
ALTER TABLE app.swapped INHERIT app.parent;
CREATE TABLE app.doubled (a int, b int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (a));
CREATE TABLE app.doubled_too (a int NOT NULL, b int GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (a));
ALTER TABLE app.doubled_too INHERIT app.doubled;
CREATE TABLE app.typed OF app.pair;
CREATE TABLE app.other_storage (id int) USING other_heap;
CREATE UNLOGGED TABLE app.scratch (id int);
CREATE TABLE app.empty ();
CREATE TABLE app.parted (id int, day date NOT NULL, v text, CONSTRAINT parted_key PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.parted_2 (v text, id int NOT NULL, day date NOT NULL);
ALTER TABLE app.parted ATTACH PARTITION app.parted_2 DEFAULT;
CREATE INDEX parted_v ON app.parted (v);
CREATE INDEX parted_half ON ONLY app.parted (id);
CREATE INDEX parted_1_half ON app.parted_1 (id);
ALTER INDEX app.parted_half ATTACH PARTITION app.parted_1_half;
CREATE TRIGGER on_parted AFTER INSERT ON app.parted FOR EACH ROW EXECUTE FUNCTION app.trigger();
ALTER TABLE app.parted_1 DISABLE TRIGGER on_parted;
ALTER TABLE app.parted_2 ENABLE ALWAYS TRIGGER on_parted;
ALTER TABLE app.parted ADD CONSTRAINT to_people FOREIGN KEY (id) REFERENCES app.people (id) ON DELETE CASCADE DEFERRABLE;
COMMENT ON CONSTRAINT to_people ON app.parted IS 'a reference';
CREATE TABLE app.booked (during app.span, v int, EXCLUDE USING gist (during WITH &&));
CREATE TABLE app.based (p app.point3 DEFAULT '(1,2)');
ALTER TABLE app.people ADD CONSTRAINT self FOREIGN KEY (id) REFERENCES app.people (id) NOT VALID;
-- since 18
CREATE TABLE app.named (id int CONSTRAINT filled NOT NULL, v int CONSTRAINT private NOT NULL NO INHERIT, w int, y int);
CREATE TABLE app.virtual (id int PRIMARY KEY, x int GENERATED ALWAYS AS (id + 1) VIRTUAL);
ALTER TABLE app.named ADD CONSTRAINT later NOT NULL w NOT VALID;
COMMENT ON CONSTRAINT filled ON app.named IS 'named';
ALTER TABLE app.named ADD CONSTRAINT loose CHECK (y > 0) NOT ENFORCED;
CREATE TABLE app.named_child (z int) INHERITS (app.named);
CREATE TABLE app.keyed_child (z int, PRIMARY KEY (id)) INHERITS (app.named);
CREATE TABLE app.surer_child (z int, NOT NULL w) INHERITS (app.named);
CREATE TABLE app.periods (id int4range, during tsrange, PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE app.excluded (id int, r int4range, EXCLUDE USING gist (r WITH =, r WITH &&)) PARTITION BY RANGE (r);
CREATE TABLE app.excluded_1 PARTITION OF app.excluded DEFAULT;
CREATE TABLE app.filled (a int, b int, c int) PARTITION BY LIST (a);
CREATE TABLE app.filled_1 PARTITION OF app.filled FOR VALUES IN (1);
ALTER TABLE app.filled ADD CONSTRAINT filled_b NOT NULL b NOT VALID;
CREATE TABLE app.sure_later (a int);
CREATE TABLE app.sure_child (a int) INHERITS (app.sure_later);
ALTER TABLE app.sure_later ALTER a SET NOT NULL;
-- since 15
CREATE TABLE app.counting (id int GENERATED ALWAYS AS IDENTITY, v int);
ALTER SEQUENCE app.counting_id_seq SET UNLOGGED;
CREATE UNLOGGED TABLE app.counting_lightly (id int GENERATED ALWAYS AS IDENTITY, v int);
ALTER SEQUENCE app.counting_lightly_id_seq SET LOGGED;
-- since 14

-- Views.
CREATE VIEW app.named_people (id, called) WITH (security_barrier = true) AS SELECT id, name FROM app.people WITH LOCAL CHECK OPTION;
ALTER VIEW app.named_people ALTER called SET DEFAULT 'nobody';
CREATE TRIGGER instead INSTEAD OF DELETE ON app.named_people FOR EACH ROW EXECUTE FUNCTION app.trigger();
CREATE RULE writable AS ON INSERT TO app.named_people DO INSTEAD INSERT INTO app.people (name) VALUES (NEW.called);
CREATE RULE off AS ON UPDATE TO app.named_people DO INSTEAD NOTHING;
COMMENT ON VIEW app.named_people IS 'a view';
COMMENT ON COLUMN app.named_people.called IS 'of a view';
COMMENT ON TRIGGER instead ON app.named_people IS 'of a view';
COMMENT ON RULE writable ON app.named_people IS 'of a view';
GRANT SELECT, INSERT ON app.named_people TO ROLE_B WITH GRANT OPTION;
GRANT SELECT (id) ON app.named_people TO ROLE_C;
ALTER VIEW app.named_people OWNER TO ROLE_A;
CREATE VIEW app.grouped AS SELECT id, name, mood FROM app.people GROUP BY id;
CREATE VIEW app.no_columns AS SELECT FROM app.people GROUP BY id;
CREATE VIEW app.on_view AS SELECT * FROM app.named_people;
CREATE FUNCTION app.of_view() RETURNS SETOF app.grouped LANGUAGE sql AS 'SELECT * FROM app.grouped';
CREATE RECURSIVE VIEW app.counted (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < 3;
CREATE MATERIALIZED VIEW app.cached WITH (fillfactor = 60) AS SELECT id, name FROM app.people;
CREATE UNIQUE INDEX cached_id ON app.cached (id);
CREATE INDEX cached_name ON app.cached (lower(name));
ALTER INDEX app.cached_name ALTER COLUMN 1 SET STATISTICS 44;
ALTER MATERIALIZED VIEW app.cached CLUSTER ON cached_id;
ALTER MATERIALIZED VIEW app.cached ALTER name SET STATISTICS 11;
COMMENT ON MATERIALIZED VIEW app.cached IS 'kept';
COMMENT ON COLUMN app.cached.name IS 'kept name';
COMMENT ON INDEX app.cached_id IS 'kept index';
GRANT SELECT ON app.cached TO ROLE_B;
CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS one WITH NO DATA;
-- since 15
CREATE VIEW app.invoker WITH (security_invoker = true) AS SELECT id FROM app.people;
-- since 14

-- Elsewhere.
CREATE FOREIGN DATA WRAPPER nothing OPTIONS (debug 'true');
COMMENT ON FOREIGN DATA WRAPPER nothing IS 'a wrapper';
GRANT USAGE ON FOREIGN DATA WRAPPER nothing TO ROLE_A;
CREATE SERVER far TYPE 'some' VERSION '1.0' FOREIGN DATA WRAPPER nothing OPTIONS (host 'far.example');
COMMENT ON SERVER far IS 'a server';
ALTER SERVER far OWNER TO ROLE_A;
GRANT USAGE ON FOREIGN SERVER far TO ROLE_B WITH GRANT OPTION;
CREATE FOREIGN TABLE app.remote (id int OPTIONS (column_name 'nr') NOT NULL, v text DEFAULT 'x' COLLATE "C", CONSTRAINT checked CHECK (id > 0)) SERVER far OPTIONS (table_name 'there');
COMMENT ON FOREIGN TABLE app.remote IS 'over there';
COMMENT ON COLUMN app.remote.v IS 'of a foreign table';
GRANT SELECT ON app.remote TO ROLE_B;
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'guest');
CREATE PUBLICATION ours FOR TABLE app.people, app.parted WITH (publish = 'insert');
ALTER PUBLICATION ours OWNER TO ROLE_OWNER;
COMMENT ON PUBLICATION ours IS 'a publication';
CREATE PUBLICATION nothing_yet;
-- since 15
CREATE PUBLICATION filtered FOR TABLE app.people (id, name) WHERE (id > 5);
CREATE PUBLICATION whole FOR TABLES IN SCHEMA app;
-- since 14
CREATE FUNCTION app.on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER watch ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'CREATE TABLE') EXECUTE FUNCTION app.on_event();
COMMENT ON EVENT TRIGGER watch IS 'watches';
CREATE EVENT TRIGGER asleep ON sql_drop EXECUTE FUNCTION app.on_event();
ALTER EVENT TRIGGER asleep DISABLE;
-- A restore's own commands must not run it.
CREATE FUNCTION app.on_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d WHERE d.object_name = 'tidemark_restore') THEN RAISE EXCEPTION 'fired by a restore'; END IF; END $$;
CREATE EVENT TRIGGER guard ON sql_drop EXECUTE FUNCTION app.on_drop();

-- Rights on what the server brought, default privileges, and the database.
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) TO ROLE_B;
REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC;
GRANT SELECT (rolname) ON pg_catalog.pg_authid TO ROLE_B WITH GRANT OPTION;
REVOKE SELECT (subname) ON pg_catalog.pg_subscription FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE ROLE_A REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE ROLE_A REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE ROLE_A IN SCHEMA app GRANT SELECT ON TABLES TO ROLE_B WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE ROLE_A REVOKE INSERT ON TABLES FROM ROLE_A;
ALTER DEFAULT PRIVILEGES FOR ROLE ROLE_A GRANT USAGE ON SCHEMAS TO ROLE_C;
DO $$ BEGIN EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); EXECUTE format('GRANT CONNECT ON DATABASE %I TO ROLE_B WITH GRANT OPTION', current_database()); EXECUTE format('COMMENT ON DATABASE %I IS ''the whole''', current_database()); EXECUTE format('ALTER DATABASE %I SET search_path = app, "$user", public', current_database()); EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''77s''', current_database()); EXECUTE format('ALTER ROLE ROLE_A IN DATABASE %I SET work_mem = ''5MB''', current_database()); END $$;
