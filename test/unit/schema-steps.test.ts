/** The order in which a restore runs a schema: what checks rows comes behind them, what protects comes before what lets in. */
import { expect, test } from 'vitest'
import type { SchemaStatement } from '../../services/core/transaction.ts'
import {
  databasePath,
  domainParts,
  isGrant,
  schemaSteps,
} from '../../services/engines/postgres/dialect/schema-steps.ts'

function statement(rank: number, sql: string, kind = 'table', name = 't'): SchemaStatement {
  return { sql, rank, phase: rank < 20 ? 'before' : 'after', objects: [{ kind, schema: 's', name }] }
}

test('a domain is made bare; its checks come behind the rows, in the state that they had', () => {
  const sql = `CREATE DOMAIN "s"."d" AS text DEFAULT E'it\\\\''s CONSTRAINT "x"' CONSTRAINT "nn" NOT NULL CONSTRAINT "a" CHECK ((VALUE <> ' CONSTRAINT "y"'::text)) CONSTRAINT "b" CHECK ((VALUE ~ '[)('::text)) NOT VALID`
  expect(domainParts(sql)).toEqual({
    bare: `CREATE DOMAIN "s"."d" AS text DEFAULT E'it\\\\''s CONSTRAINT "x"'`,
    notNull: false,
    checks: [
      'CONSTRAINT "nn" NOT NULL',
      `CONSTRAINT "a" CHECK ((VALUE <> ' CONSTRAINT "y"'::text))`,
      `CONSTRAINT "b" CHECK ((VALUE ~ '[)('::text)) NOT VALID`,
    ],
  })
  const steps = schemaSteps([statement(0, sql, 'type', 'd')])
  expect(steps.before.map((s) => s.sql)).toEqual([domainParts(sql).bare])
  expect(steps.build.map((s) => s.sql)).toEqual([
    'ALTER DOMAIN "s"."d" ADD CONSTRAINT "nn" NOT NULL',
    `ALTER DOMAIN "s"."d" ADD CONSTRAINT "a" CHECK ((VALUE <> ' CONSTRAINT "y"'::text)) NOT VALID`,
    `ALTER DOMAIN "s"."d" ADD CONSTRAINT "b" CHECK ((VALUE ~ '[)('::text)) NOT VALID`,
  ])
  expect(steps.check.map((s) => s.sql)).toEqual(['ALTER DOMAIN "s"."d" VALIDATE CONSTRAINT "a"'])
})

test('a domain inside of an array keeps its valid checks: it takes none later', () => {
  const sql = `CREATE DOMAIN "s"."d" AS integer NOT NULL CONSTRAINT "a" CHECK ((VALUE > 0)) CONSTRAINT "b" CHECK ((VALUE < 9)) NOT VALID`
  const steps = schemaSteps([
    statement(0, sql, 'type', 'd'),
    statement(0, 'CREATE TABLE "s"."t" ("v" s.d[])'),
  ])
  expect(steps.before[0]!.sql).toBe(
    'CREATE DOMAIN "s"."d" AS integer NOT NULL CONSTRAINT "a" CHECK ((VALUE > 0))',
  )
  expect(steps.check).toEqual([])
})

test('checks and keys are added without a look at the rows; owners come before the rows, rights behind them', () => {
  const steps = schemaSteps([
    statement(0, 'CREATE TABLE "s"."t" ()'),
    statement(80, 'ALTER TABLE "s"."t" OWNER TO "o"'),
    statement(80, 'GRANT SELECT ON TABLE "s"."t" TO r'),
    statement(80, 'ALTER TABLE "s"."t" ENABLE ROW LEVEL SECURITY'),
    statement(30, 'ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "c" CHECK ((a > 0))'),
    statement(30, 'ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "n" CHECK ((a > 0)) NO INHERIT'),
    statement(60, 'ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "f" FOREIGN KEY (a) REFERENCES s.p(id)'),
    statement(60, 'ALTER TABLE "s"."t" ADD CONSTRAINT "g" FOREIGN KEY (a) REFERENCES s.p(id)'),
    statement(80, 'GRANT USAGE ON SCHEMA "s" TO r', 'schema'),
    statement(90, 'ALTER DEFAULT PRIVILEGES FOR ROLE "o" GRANT SELECT ON TABLES TO r', 'defaultPrivilege'),
  ])
  const sql = (list: readonly SchemaStatement[]): string[] => list.map((s) => s.sql)
  expect(sql(steps.before)).toEqual(['CREATE TABLE "s"."t" ()', 'ALTER TABLE "s"."t" OWNER TO "o"'])
  expect(sql(steps.access)).toEqual(['GRANT USAGE ON SCHEMA "s" TO r'])
  expect(sql(steps.build)).toEqual([
    'ALTER TABLE "s"."t" ADD CONSTRAINT "c" CHECK ((a > 0)) NOT VALID',
    'ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "n" CHECK ((a > 0)) NO INHERIT NOT VALID',
    'ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "f" FOREIGN KEY (a) REFERENCES s.p(id) NOT VALID',
    'ALTER TABLE "s"."t" ADD CONSTRAINT "g" FOREIGN KEY (a) REFERENCES s.p(id)',
    'ALTER TABLE "s"."t" ENABLE ROW LEVEL SECURITY',
  ])
  expect(sql(steps.rights)).toEqual(['GRANT SELECT ON TABLE "s"."t" TO r'])
  expect(sql(steps.check)).toEqual(
    ['c', 'n', 'f'].map((name) => `ALTER TABLE "s"."t" VALIDATE CONSTRAINT "${name}"`),
  )
  expect(sql(steps.last)).toEqual(['ALTER DEFAULT PRIVILEGES FOR ROLE "o" GRANT SELECT ON TABLES TO r'])
})

test('a grant by another than the owner is one too; the database tells its search path', () => {
  expect(isGrant(statement(80, 'SET ROLE a; GRANT SELECT ON TABLE "s"."t" TO b; RESET ROLE'))).toBe(true)
  const database = `DO $tidemark$ BEGIN EXECUTE pg_catalog.format('ALTER DATABASE %1$I SET "search_path" TO ''app'', ''$user''', pg_catalog.current_database()); END $tidemark$`
  expect(databasePath([statement(90, database, 'database')])).toBe(`'app', '$user'`)
  expect(databasePath([statement(0, 'CREATE TABLE "s"."t" ()')])).toBeUndefined()
})

test('a sequence that a column owns goes with the owner of its table, whoever owned it when it was read', () => {
  const sequence = (rank: number, sql: string): SchemaStatement => statement(rank, sql, 'sequence', 'q')
  const of = (rank: number, sql: string): SchemaStatement => statement(rank, sql, 'table', 'T "x"')
  const steps = schemaSteps([
    sequence(0, 'CREATE SEQUENCE "s"."q"'),
    of(0, 'CREATE TABLE "s"."T ""x""" ()'),
    of(80, 'ALTER TABLE "s"."T ""x""" OWNER TO "new"'),
    sequence(80, 'ALTER SEQUENCE "s"."q" OWNER TO "old"'),
    sequence(80, 'REVOKE ALL ON SEQUENCE "s"."q" FROM "old"'),
    sequence(80, 'GRANT ALL ON SEQUENCE "s"."q" TO "old" WITH GRANT OPTION'),
    sequence(80, 'SET ROLE "old"; GRANT SELECT ON SEQUENCE "s"."q" TO "older"; RESET ROLE'),
    sequence(81, 'ALTER SEQUENCE "s"."q" OWNED BY s."T ""x""".c'),
    // The table of this one is not there.
    statement(80, 'ALTER SEQUENCE "s"."r" OWNER TO "old"', 'sequence', 'r'),
    statement(81, 'ALTER SEQUENCE "s"."r" OWNED BY s.gone.c', 'sequence', 'r'),
  ])
  expect(steps.before.map((s) => s.sql)).toEqual([
    'CREATE SEQUENCE "s"."q"',
    'CREATE TABLE "s"."T ""x""" ()',
    'ALTER SEQUENCE "s"."q" OWNED BY s."T ""x""".c',
    'ALTER SEQUENCE "s"."r" OWNED BY s.gone.c',
    'ALTER TABLE "s"."T ""x""" OWNER TO "new"',
  ])
  expect(steps.rights.map((s) => s.sql)).toEqual([
    'REVOKE ALL ON SEQUENCE "s"."q" FROM "new"',
    'GRANT ALL ON SEQUENCE "s"."q" TO "new" WITH GRANT OPTION',
    'SET ROLE "new"; GRANT SELECT ON SEQUENCE "s"."q" TO "older"; RESET ROLE',
    'ALTER SEQUENCE "s"."r" OWNER TO "old"',
  ])
})
