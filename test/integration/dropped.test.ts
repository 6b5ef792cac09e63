/**
 * What has no name of its own but with its arguments, and what no statement of a record makes again: dropped, made and
 * altered between two readings of the schema. A restore between never has what was gone, nor loses another one of the same
 * name; what it cannot tell, it names.
 */
import { describe, expect, test } from 'vitest'
import { Backup, oneVersion } from '../support/backup.ts'
import { dumpEntries, findPgDump } from '../support/dump-oracle.ts'

const SETUP = `
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE FUNCTION f(int, int) RETURNS int LANGUAGE sql AS 'SELECT 3';
CREATE PROCEDURE pr(int) LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE pr(text) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0'); CREATE AGGREGATE total(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = '0');
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq); CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
CREATE CAST (text AS numrange) WITH INOUT; CREATE CAST (text AS int4range) WITH INOUT;
CREATE TEXT SEARCH DICTIONARY dict1 (TEMPLATE = simple); CREATE TEXT SEARCH DICTIONARY dict2 (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION conf1 (PARSER = default); CREATE TEXT SEARCH CONFIGURATION conf2 (PARSER = default);
CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER s1 FOREIGN DATA WRAPPER wrapper; CREATE SERVER s2 FOREIGN DATA WRAPPER wrapper; CREATE USER MAPPING FOR PUBLIC SERVER s1;
CREATE FOREIGN TABLE far1 (a int) SERVER s1; CREATE FOREIGN TABLE far2 (a int) SERVER s1; CREATE FOREIGN TABLE far3 (a int) SERVER s2;
CREATE DOMAIN small AS int CHECK (VALUE < 9); CREATE COLLATION coll FROM "C"; CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TABLE t (id int PRIMARY KEY, v text)`

/** Each a point of its own. */
const CHANGES: readonly string[] = [
  'DROP FUNCTION f(int); DROP PROCEDURE pr(int)',
  'DROP AGGREGATE total(int); DROP OPERATOR === (int, int); DROP CAST (text AS int4range); DROP COLLATION coll; DROP CONVERSION conv',
  'DROP FOREIGN TABLE far1; DROP TEXT SEARCH CONFIGURATION conf1; DROP TEXT SEARCH DICTIONARY dict1; DROP DOMAIN small',
  "CREATE OR REPLACE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 22'; CREATE FUNCTION f(int) RETURNS text LANGUAGE sql AS 'SELECT $$a$$'; DROP FUNCTION f(int, int)",
  "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '7'); CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4ne); CREATE CAST (text AS int8range) WITH INOUT",
  'CREATE FOREIGN TABLE far1 (b text) SERVER s1; CREATE SERVER s3 FOREIGN DATA WRAPPER wrapper; CREATE TEXT SEARCH CONFIGURATION conf1 (COPY = english); CREATE TEXT SEARCH DICTIONARY dict1 (TEMPLATE = simple, ACCEPT = false)',
  "ALTER FOREIGN TABLE far2 ADD COLUMN w int; ALTER SERVER s2 OPTIONS (ADD host 'h'); ALTER TEXT SEARCH DICTIONARY dict2 (ACCEPT = false); ALTER TEXT SEARCH CONFIGURATION conf2 ADD MAPPING FOR word WITH simple; ALTER AGGREGATE total(bigint) RENAME TO sum_up",
  'DROP SERVER s1 CASCADE; DROP TEXT SEARCH DICTIONARY dict2; DROP FUNCTION f(text); DROP AGGREGATE sum_up(bigint)',
]

/** "AGGREGATE public.total(integer) (owner)" is told by what it is called: total. */
function wordOf(key: string): RegExp {
  const name = (/ AS ([\w.]+)\)/.exec(key) ?? /\.([^ (]+)/.exec(key))?.[1] ?? key
  return new RegExp(`(?<!\\w)${name.replaceAll(/[^\w]/g, '\\$&')}(?!\\w)`)
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('between two readings nothing that was dropped is there, and nothing else is lost unsaid', {
    timeout: 300_000,
  }, async (context) => {
    const pgDump = findPgDump()
    if ('missing' in pgDump) return context.skip(pgDump.missing)
    // Slow enough for no reading to come between.
    await using backup = await Backup.start({ version, setup: SETUP, rollMs: 6000 })
    const { source } = backup
    await backup.durable()
    const points: { readonly at: string; readonly sql: string; readonly entries: Map<string, string> }[] = []
    for (const sql of CHANGES) {
      for (const one of sql.split('; ')) await source.query(one)
      const { l: at } = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
        .rows[0]!
      points.push({ at, sql, entries: dumpEntries(pgDump.path, backup.sourceUrl) })
    }
    await backup.durable()
    for (const { at, sql, entries } of points) {
      const restored = await backup.restore(at)
      const { unmade } = restored.result!
      const notes = restored.result!.notes.filter((note) => note.includes('check it by hand'))
      const got = dumpEntries(pgDump.path, restored.url)
      const isNamed = (key: string): boolean => notes.some((note) => wordOf(key).test(note))
      for (const [key, text] of entries)
        if (got.get(key) !== text && !isNamed(key)) expect(got.get(key), `${sql}: ${key}`).toEqual(text)
      expect(
        [...got.keys()].filter((key) => !entries.has(key) && !isNamed(key)),
        sql,
      ).toEqual([])
      // Of two that are dropped alone nothing is uncertain.
      if (sql.startsWith('DROP FUNCTION f(int)')) expect(notes).toEqual([])
      // What no record makes again is told as left out, and nothing beside it.
      const others = unmade.filter(
        ({ reason }) => !reason.includes('came after the last reading of the schema'),
      )
      expect(others, sql).toEqual([])
      for (const { object } of unmade) expect(notes.join(), sql).toContain(object.replace(/^[a-z ]+ /, ''))
    }
  })
})
