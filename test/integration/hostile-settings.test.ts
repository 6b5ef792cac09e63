/** Settings that a database gives to all its sessions: none of them may stop Tidemark, or change what it reads and makes. */
import { expect, test } from 'vitest'
import { connect, SESSION_SETTINGS } from '../../services/engines/postgres/session/session.ts'
import { quoteLiteral } from '../../services/engines/postgres/dialect/quote.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'

const SETTINGS: Readonly<Record<string, string>> = {
  quote_all_identifiers: 'on',
  standard_conforming_strings: 'off',
  backslash_quote: 'off',
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  default_transaction_deferrable: 'on',
  search_path: 'no such, public',
  session_replication_role: 'replica',
  row_security: 'off',
  bytea_output: 'escape',
  array_nulls: 'off',
  xmloption: 'document',
  xmlbinary: 'hex',
  default_toast_compression: 'pglz',
  extra_float_digits: '-15',
  DateStyle: 'German',
  IntervalStyle: 'sql_standard',
  TimeZone: 'Asia/Kolkata',
  client_encoding: 'LATIN1',
  client_min_messages: 'error',
  transform_null_equals: 'on',
  check_function_bodies: 'off',
  lo_compat_privileges: 'on',
  statement_timeout: '2s',
  lock_timeout: '50ms',
  idle_in_transaction_session_timeout: '500ms',
  'plpgsql.extra_errors': 'all',
  'plpgsql.variable_conflict': 'use_column',
}

/** As they would be for each session, whoever opens it. */
function settings(database: string, which: readonly string[]): string {
  return which
    .map((name) => `ALTER DATABASE ${database} SET ${name} = ${quoteLiteral(SETTINGS[name]!)}`)
    .join('; ')
}

test.each(testedVersions())(
  'each by itself gives way to what a session of ours needs on %s',
  async (version) => {
    await using backup = await Backup.prepare({ version })
    for (const name of Object.keys(SETTINGS)) {
      await backup.source.query(settings(backup.database, [name]))
      const session = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      for (const [setting, value] of Object.entries(SESSION_SETTINGS))
        expect({
          name,
          [setting]: (await session.query<{ v: string }>('SELECT current_setting($1) AS v', [setting]))
            .rows[0]!.v,
        }).toEqual({ name, [setting]: value })
      await session.end()
      await backup.source.query(
        `SET default_transaction_read_only = off; ALTER DATABASE ${backup.database} RESET ALL`,
      )
    }
  },
)

const ROWS = (table: string): string =>
  `INSERT INTO ${table} (id, ts, i, d, b, f, f4, a, t) SELECT g, '2026-03-08 07:30:00.123456+00', '1 year -2 days +03:04:05.6', '2026-02-03', '\\x00ff5c', 0.1::float8 + 0.2, 5e-05, ARRAY['a', NULL, 'NULL', '\\', '"'], 'quote '' and \\' FROM generate_series(1, 5) g`

test.each(testedVersions())(
  'all of them together at the source and at the target on %s: rows, DDL and the restore are equal',
  async (version) => {
    const columns =
      'id int PRIMARY KEY, ts timestamptz, i interval, d date, b bytea, f float8, f4 float4, a text[], t text'
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE old (${columns}); ${ROWS('old')}`,
    })
    await backup.source.query(settings(backup.database, Object.keys(SETTINGS)))
    await backup.init()
    await backup.up()
    const application = await backup.client()
    // What the application needs itself to write at all, and for event triggers to fire.
    await application.query(
      `SET default_transaction_read_only = off; SET session_replication_role = origin; SET search_path = public; SET lock_timeout = 0; SET statement_timeout = 0;
     SET standard_conforming_strings = on; SET array_nulls = on; SET idle_in_transaction_session_timeout = 0; SET DateStyle = ISO; SET client_encoding = 'UTF8'`,
    )
    for (const sql of [
      `CREATE TABLE late (${columns}); ALTER TABLE late ADD x text DEFAULT 'x\\y'; ${ROWS('late')}`,
      `UPDATE old SET t = t || '!', a = a || NULL::text WHERE id < 3; DELETE FROM old WHERE id = 5`,
      `CREATE VIEW seen AS SELECT id, a = NULL AS never FROM old; CREATE FUNCTION said() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''\\''; END'`,
      `CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE "Quoted name" (m mood DEFAULT 'a', "select" int CHECK ("select" <> 4)); INSERT INTO "Quoted name" VALUES ('b', 1)`,
    ])
      await application.query(sql)
    await backup.durable()
    const into = await backup.emptyDatabase()
    await backup.source.query(settings(new URL(into).pathname.slice(1), Object.keys(SETTINGS)))
    const restored = await backup.restore('latest', { into })
    expect(restored.result!.unmade).toEqual([])
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    for (const url of [backup.sourceUrl, restored.url])
      await backup.source.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} RESET ALL`)
    await expectSameSchema(backup.sourceUrl, restored.url)
  },
)
