/** Columns that look alike and are others: dropped and added again, exchanged by name, made ordinary; rows must not mix. */
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
import { formatLsn } from '../../services/core/position.ts'

const SETUP = `
CREATE TABLE keyed (id int PRIMARY KEY, v text, n int);
INSERT INTO keyed SELECT i, 'old' || i, i FROM generate_series(1, 20) i;
CREATE TABLE keyless (a int, v text);
INSERT INTO keyless SELECT i % 4, 'old' FROM generate_series(1, 12) i;`

/** Each entry is one transaction. */
const HISTORY: readonly string[] = [
  `UPDATE keyed SET v = 'before' || id WHERE id < 5; DELETE FROM keyless WHERE a = 3`,
  'ALTER TABLE keyed DROP COLUMN v; ALTER TABLE keyless DROP COLUMN v',
  'ALTER TABLE keyed ADD COLUMN v text; ALTER TABLE keyless ADD COLUMN v text',
  `UPDATE keyed SET v = 'after' || id WHERE id % 2 = 0; INSERT INTO keyed VALUES (100, 7, 'new')`,
  `INSERT INTO keyless VALUES (9, 'new'), (9, NULL); UPDATE keyless SET v = 'touched' WHERE a = 1`,
  // In one transaction, with rows before, between and behind.
  `UPDATE keyed SET v = 'x' WHERE id = 3; ALTER TABLE keyed DROP COLUMN v; UPDATE keyed SET n = n + 1 WHERE id < 4;
   ALTER TABLE keyed ADD COLUMN v text DEFAULT 'given'; UPDATE keyed SET v = 'y' WHERE id = 4`,
  `INSERT INTO keyless VALUES (5, 'kept'); ALTER TABLE keyless DROP COLUMN v, ADD COLUMN v text; INSERT INTO keyless VALUES (6, 'kept'); DELETE FROM keyless WHERE a = 0`,
  // Two columns of one type exchange their names.
  `ALTER TABLE keyed ADD COLUMN w text; UPDATE keyed SET w = 'w' || id`,
  'ALTER TABLE keyed RENAME COLUMN v TO t; ALTER TABLE keyed RENAME COLUMN w TO v; ALTER TABLE keyed RENAME COLUMN t TO w',
  `UPDATE keyed SET v = 'v after' WHERE id = 8; UPDATE keyed SET w = 'w after' WHERE id = 9; DELETE FROM keyed WHERE id = 10`,
  // The key itself is another column than before.
  'ALTER TABLE keyed DROP COLUMN id; ALTER TABLE keyed ADD COLUMN id int',
  'UPDATE keyed SET id = n * 10 WHERE n IS NOT NULL; UPDATE keyed SET id = -1 WHERE id IS NULL',
  'DELETE FROM keyed WHERE id = 80; ALTER TABLE keyed DROP COLUMN n',
  `INSERT INTO keyed (id, v) VALUES (1, 'last'), (1, 'last')`,
]

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('a column dropped and added again is another column, at every point', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const points: { readonly at: string; readonly expected: readonly string[] }[] = []
    for (const transaction of HISTORY) {
      await backup.source.query(transaction)
      points.push({ at: formatLsn(await backup.head()), expected: shown(await digests(backup.sourceUrl)) })
    }
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'gap')).toEqual([])
    for (const [index, { at, expected }] of points.entries()) {
      if (index % 3 !== 1 && index !== points.length - 1) continue
      const restored = await backup.restore(at, index % 2 === 0 ? {} : { memoryBytes: 1000 })
      expect(shown(await digests(restored.url)), HISTORY[index]).toEqual(expected)
    }
  })
})
