/** A database in SQL_ASCII has any bytes, in rows and in definitions: they come back, and none makes a point unreadable. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'

const SQL_ASCII = `TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`

/** A statement whose characters are one byte each, as no client that speaks UTF-8 alone can send it. */
function inBytes(sql: string): string {
  return `DO $outer$ BEGIN EXECUTE convert_from('\\x${Buffer.from(sql, 'latin1').toString('hex')}', 'SQL_ASCII'); END $outer$`
}

const MADE = (at: string): string[] => [
  `CREATE TABLE of${at} (id int PRIMARY KEY, v text DEFAULT 'caf\xe9')`,
  `COMMENT ON TABLE of${at} IS 'caf\xe9, and \xc3\xa9'`,
  `CREATE TABLE "n\xe9${at}" ("c\xe9" int PRIMARY KEY, v text CHECK (v <> '\xff'))`,
  `CREATE FUNCTION f${at}() RETURNS text LANGUAGE sql AS 'select ''caf\xe9''::text'`,
  `CREATE VIEW v${at} AS SELECT 'caf\xe9'::text AS v, "c\xe9" FROM "n\xe9${at}"`,
  `CREATE TYPE e${at} AS ENUM ('\xe9', 'a')`,
  `CREATE SEQUENCE "s\xe9${at}"; GRANT SELECT ON of${at} TO PUBLIC; CREATE INDEX "i\xe9${at}" ON of${at} (v) WHERE v <> '\xe9'`,
  `INSERT INTO of${at} (id) VALUES (1); INSERT INTO "n\xe9${at}" VALUES (1, 'r\xe9'); SELECT nextval('"s\xe9${at}"')`,
]

/** What a dump would have of them, as hex: the test's own client reads UTF-8. */
async function definitions(url: string): Promise<string> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  const asked = await client.query<{ t: string }>(
    `SELECT encode(convert_to(string_agg(line, E'\\n' ORDER BY line), 'SQL_ASCII'), 'hex') AS t FROM (
      SELECT 'class ' || oid::regclass || ' ' || relkind::text || ' ' || coalesce(obj_description(oid, 'pg_class'), '') AS line FROM pg_class WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT 'default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid::regclass::text !~ '^tidemark'
      UNION ALL SELECT 'check ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT 'column ' || attrelid::regclass || attname FROM pg_attribute WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
      UNION ALL SELECT 'function ' || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT 'view ' || pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
      UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT 'label ' || enumlabel FROM pg_enum) AS all_lines`,
  )
  await client.end()
  return [Buffer.from(asked.rows[0]!.t, 'hex').toString('latin1'), ...shown(await digests(url))].join('\n')
}

test.each(testedVersions())('definitions and rows with bytes that are no UTF-8 on %s', async (version) => {
  await using backup = await Backup.prepare({ version, createDatabase: SQL_ASCII })
  for (const sql of MADE('before')) await backup.source.query(inBytes(sql))
  await backup.init()
  await backup.up()
  await backup.source.query('CREATE TABLE plain (id int PRIMARY KEY)')
  const early = await backup.durable()
  const before = await definitions(backup.sourceUrl)
  expect(before).toContain('caf\xe9')
  for (const sql of MADE('after')) await backup.source.query(inBytes(sql))
  await backup.source.query(inBytes(`ALTER TABLE "n\xe9before" ADD "d\xe9" int DEFAULT 4`))
  await backup.durable()
  // The point before all of it, and the end.
  const first = await backup.restore(positionText(early))
  expect(await definitions(first.url)).toBe(before)
  expect(first.result!.unmade).toEqual([])
  const last = await backup.restore('latest')
  expect(last.result!.unmade).toEqual([])
  expect(await definitions(last.url)).toBe(await definitions(backup.sourceUrl))
})
