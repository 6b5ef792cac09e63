/** Rights of parts stay at a point between two commands at their parent that no reading of the schema lies between. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, testedVersions } from '../support/backup.ts'

const SETUP = `CREATE TABLE p (id int, room int, body text, PRIMARY KEY (id, room)) PARTITION BY LIST (room);
  CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
  CREATE TABLE par (id int PRIMARY KEY, body text); CREATE TABLE ch () INHERITS (par);
  GRANT SELECT ON p1, ch TO PUBLIC; GRANT INSERT ON p2 TO PUBLIC; GRANT UPDATE (body) ON p1, ch TO PUBLIC`

async function rights(url: string): Promise<unknown> {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query(
    `SELECT c.relname AS name, c.relacl::text AS acl, (SELECT string_agg(a.attname || ' ' || a.attacl::text, ', ' ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL) AS columns
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1`,
  )
  await client.end()
  return rows
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test.each([
    ['ADD COLUMN', 'ADD COLUMN m1 int DEFAULT 13', 'ADD COLUMN m2 int'],
    ['SET NOT NULL', 'ALTER body SET NOT NULL', 'ADD COLUMN m2 int'],
    ['RENAME', 'RENAME body TO text', 'ADD COLUMN m2 int'],
  ])('%s', { timeout: 180_000 }, async (_, first, second) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.durable()
    const { source } = backup
    await source.query(`ALTER TABLE p ${first}; ALTER TABLE par ${first}`)
    const expected = await rights(backup.sourceUrl)
    const at = (await source.query<{ at: string }>('SELECT pg_current_wal_lsn()::text AS at')).rows[0]!.at
    await source.query(`ALTER TABLE p ${second}; ALTER TABLE par ${second}`)
    await backup.durable()
    expect(await rights((await backup.restore(at)).url)).toEqual(expected)
  })
})
