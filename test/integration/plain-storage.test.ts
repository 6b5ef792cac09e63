/** STORAGE PLAIN says where new values go: those of before stay where they are, and come back whatever their size. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

const LARGE = `(SELECT string_agg(encode(sha256(g::text::bytea), 'hex'), '') FROM generate_series(1, 400) g)`
const SETUP = `CREATE TABLE plain (id int PRIMARY KEY, v text, n int);
  CREATE TABLE parts (id int, v text) PARTITION BY RANGE (id);
  CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
  INSERT INTO plain VALUES (1, ${LARGE}, 1); INSERT INTO parts VALUES (1, ${LARGE});
  CREATE MATERIALIZED VIEW seen AS SELECT id, v FROM plain;
  ALTER TABLE plain ALTER v SET STORAGE PLAIN; ALTER TABLE parts ALTER v SET STORAGE PLAIN;
  ALTER MATERIALIZED VIEW seen ALTER v SET STORAGE PLAIN`

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('values larger than a page come back in a column that is PLAIN by now', {
    timeout: 180_000,
  }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.source.query(`UPDATE plain SET n = 2; INSERT INTO plain VALUES (2, 'small', 1);
      CREATE TABLE later (id int PRIMARY KEY, v text); INSERT INTO later VALUES (1, ${LARGE}); ALTER TABLE later ALTER v SET STORAGE PLAIN`)
    await backup.durable()
    const restored = await backup.restore()
    expect(restored.result!.unmade).toEqual([])
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    await expectSameSchema(backup.sourceUrl, restored.url)
    const target = new pg.Client(restored.url)
    await target.connect()
    try {
      const { rows } = await target.query<{ name: string; storage: string }>(
        `SELECT attrelid::regclass::text AS name, attstorage AS storage FROM pg_attribute
          WHERE attname = 'v' AND attrelid::regclass::text IN ('plain', 'parts', 'part', 'later', 'seen') ORDER BY 1`,
      )
      expect(rows.map(({ name, storage }) => `${name} ${storage}`)).toEqual(
        ['later', 'part', 'parts', 'plain', 'seen'].map((name) => `${name} p`),
      )
    } finally {
      await target.end()
    }
  })
})
