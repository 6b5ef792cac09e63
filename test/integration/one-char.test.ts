/** "char" has one byte, and a text that older and newer servers read otherwise: every byte comes back, from and into every version. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { Backup, serverUrl, testedVersions, withDatabase } from '../support/backup.ts'

const BYTES = `SELECT g AS id, (CASE WHEN g > 127 THEN g - 256 ELSE g END)::"char" AS c FROM generate_series(0, 255) g`
/** One that loads as binary, one that text alone can load, and one whose key it is. */
const TABLES = ['plain', 'beside', 'keyed']

async function bytes(url: string): Promise<Record<string, string>> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  const all: Record<string, string> = {}
  for (const table of TABLES) {
    const { rows } = await client.query<{ t: string }>(
      `SELECT pg_typeof(min(c::text::"char"))::text || ': ' || string_agg(id || '=' || c::int, ' ' ORDER BY id) AS t FROM ${table}`,
    )
    all[table] = rows[0]!.t
  }
  await client.end()
  return all
}

test.each(testedVersions().flatMap((from) => testedVersions().map((into) => [from, into] as const)))(
  'from %s into %s',
  async (from, into) => {
    await using backup = await Backup.start({
      version: from,
      setup: `CREATE TABLE plain AS ${BYTES}; ALTER TABLE plain ADD PRIMARY KEY (id);
        CREATE TABLE beside (id int PRIMARY KEY, c "char" NOT NULL DEFAULT 'x', n numeric); INSERT INTO beside SELECT id, c, 1.50 FROM (${BYTES}) b;
        CREATE TABLE keyed (id int, c "char" PRIMARY KEY, n numeric)`,
    })
    await backup.source.query(
      `INSERT INTO keyed SELECT id, c, 1.5 FROM (${BYTES}) b; UPDATE plain SET c = c WHERE id > 100`,
    )
    await backup.durable()
    const target = new pg.Client(serverUrl(into))
    await target.connect()
    const name = `${backup.database}_${into}`
    await target.query(`CREATE DATABASE ${name}`)
    try {
      const restored = await backup.restore('latest', { into: withDatabase(serverUrl(into), name) })
      expect(restored.result!.unmade).toEqual([])
      expect(await bytes(restored.url)).toEqual(await bytes(backup.sourceUrl))
    } finally {
      await target.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await target.end()
    }
  },
)
