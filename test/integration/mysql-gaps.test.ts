/**
 * Points at which the rows of a table are not known, on MariaDB and MySQL: a restore there says so, and what it makes without the tables
 * that it names is what the source was. The job was down while all of it happened, so that no copy can have come in between.
 */
import { describe, expect, test } from 'vitest'
import { markerSql } from '../../services/engines/mysql/dialect/marker.ts'
import { tidemark } from '../support/cli.ts'
import { MysqlBackup, okay } from '../support/mysql-backup.ts'
import { type Said, said } from '../support/mysql-oracle.ts'
import { type Flavour, whyNoMysql } from '../support/parts/mysql.ts'

interface Case {
  readonly what: string
  readonly setup: readonly string[]
  /** `@` is a point. */
  readonly steps: readonly string[]
  /** What is not known at the last point; undefined where it does not matter. */
  readonly unknown?: readonly string[]
  /** A gap may name tables that were made later. */
  readonly isOfLater?: boolean
  /** On one of the servers alone. */
  readonly on?: Flavour
}

const CASES: readonly Case[] = [
  {
    what: 'a table that is dropped and made again under its name',
    setup: ['CREATE TABLE msgs (id int PRIMARY KEY, v text)', `INSERT INTO msgs VALUES (1, 'old')`],
    steps: [
      'DROP TABLE msgs',
      '@',
      'CREATE TABLE msgs (id int PRIMARY KEY, v varchar(9))',
      `INSERT INTO msgs VALUES (2, 'new')`,
      '@',
    ],
    unknown: ['msgs'],
  },
  {
    what: 'a cut-over by renaming',
    setup: ['CREATE TABLE o (id int PRIMARY KEY)', 'INSERT INTO o VALUES (1)'],
    steps: [
      'CREATE TABLE o_new (id int PRIMARY KEY, extra int)',
      'INSERT INTO o_new SELECT id, 7 FROM o',
      '@',
      'RENAME TABLE o TO o_old, o_new TO o',
      'INSERT INTO o VALUES (2, 8)',
      '@',
    ],
    unknown: ['o', 'o_old'],
  },
  {
    what: 'two tables that change their names',
    setup: [
      'CREATE TABLE w1 (id int PRIMARY KEY)',
      'CREATE TABLE w2 (id int PRIMARY KEY)',
      'INSERT INTO w1 VALUES (1)',
      'INSERT INTO w2 VALUES (2)',
    ],
    steps: ['RENAME TABLE w1 TO wt, w2 TO w1, wt TO w2', '@'],
    unknown: ['w1', 'w2'],
  },
  {
    what: 'ALTER TABLE … RENAME to a name that was free',
    setup: ['CREATE TABLE ra (id int PRIMARY KEY)', 'CREATE TABLE rb (id int PRIMARY KEY)'],
    steps: ['DROP TABLE rb', 'ALTER TABLE ra RENAME TO rb', 'INSERT INTO rb VALUES (1)', '@'],
    unknown: ['rb'],
  },
  {
    what: 'a table that is gone again before anybody read it',
    setup: [],
    steps: [
      'CREATE TABLE brief (id int PRIMARY KEY)',
      'INSERT INTO brief VALUES (1)',
      '@',
      'DROP TABLE brief',
      '@',
    ],
    unknown: [],
  },
  {
    what: 'a partition that is exchanged with a table',
    setup: [
      'CREATE TABLE ep (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))',
      'CREATE TABLE ex (id int PRIMARY KEY)',
      'INSERT INTO ep VALUES (1), (11)',
      'INSERT INTO ex VALUES (2), (3)',
    ],
    steps: ['ALTER TABLE ep EXCHANGE PARTITION p0 WITH TABLE ex', '@'],
    unknown: ['ep', 'ex'],
  },
  {
    what: 'a partition that becomes a table, and one that was one',
    on: 'mariadb',
    setup: [
      'CREATE TABLE cp (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))',
      'INSERT INTO cp VALUES (1), (11)',
    ],
    steps: [
      'ALTER TABLE cp CONVERT PARTITION p1 TO TABLE cnew',
      '@',
      'ALTER TABLE cp CONVERT TABLE cnew TO PARTITION p1 VALUES LESS THAN (20)',
      '@',
    ],
    unknown: ['cp'],
  },
  {
    what: 'a new name behind a backslash that is none',
    setup: ['CREATE TABLE nb (id int PRIMARY KEY)', 'INSERT INTO nb VALUES (1)'],
    steps: [
      "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
      String.raw`ALTER TABLE nb COMMENT 'a\', RENAME TO nb2`,
      "SET SESSION sql_mode = ''",
      '@',
    ],
    unknown: ['nb2'],
  },
  {
    isOfLater: true,
    what: 'a cascade whose foreign key went with its table',
    setup: [
      'CREATE TABLE ff (id int PRIMARY KEY)',
      'CREATE TABLE fch (id int PRIMARY KEY, f int, FOREIGN KEY (f) REFERENCES ff (id) ON DELETE CASCADE)',
      'INSERT INTO ff VALUES (1), (2)',
      'INSERT INTO fch VALUES (1, 1), (2, 2)',
    ],
    steps: ['@', 'DELETE FROM ff WHERE id = 1', '@', 'DROP TABLE fch', '@'],
  },
  {
    isOfLater: true,
    what: 'a cascade whose foreign key went before the one behind it',
    setup: [
      'CREATE TABLE k1 (id int PRIMARY KEY)',
      'CREATE TABLE k2 (id int PRIMARY KEY, f int, CONSTRAINT kf FOREIGN KEY (f) REFERENCES k1 (id) ON DELETE CASCADE)',
      'CREATE TABLE k3 (id int PRIMARY KEY, f int, FOREIGN KEY (f) REFERENCES k2 (id) ON DELETE SET NULL)',
      'INSERT INTO k1 VALUES (1), (2)',
      'INSERT INTO k2 VALUES (1, 1), (2, 2)',
      'INSERT INTO k3 VALUES (1, 1), (2, 2)',
    ],
    steps: ['DELETE FROM k1 WHERE id = 1', '@', 'ALTER TABLE k2 DROP FOREIGN KEY kf', '@'],
    unknown: ['k2', 'k3'],
  },
  {
    isOfLater: true,
    what: 'a cascade between tables that have other names by now',
    setup: [
      'CREATE TABLE rp (id int PRIMARY KEY)',
      'CREATE TABLE rc (id int PRIMARY KEY, f int, FOREIGN KEY (f) REFERENCES rp (id) ON DELETE CASCADE)',
      'INSERT INTO rp VALUES (1), (2), (3)',
      'INSERT INTO rc VALUES (1, 1), (2, 2), (3, 3)',
    ],
    steps: [
      'DELETE FROM rp WHERE id = 1',
      '@',
      'RENAME TABLE rc TO rc2',
      'RENAME TABLE rp TO rp2',
      'DELETE FROM rp2 WHERE id = 2',
      '@',
    ],
    unknown: ['rc2', 'rp2'],
  },
  {
    isOfLater: true,
    what: 'a statement as text that changed a table which is gone',
    setup: ['CREATE TABLE st (id int PRIMARY KEY, v int)', 'INSERT INTO st VALUES (1, 1)'],
    steps: [
      "SET SESSION binlog_format = 'STATEMENT'",
      'UPDATE st SET v = 2',
      "SET SESSION binlog_format = 'ROW'",
      '@',
      'DROP TABLE st',
      '@',
    ],
  },
  {
    isOfLater: true,
    what: 'a table with a name in another character set',
    setup: [],
    steps: ['SET NAMES gbk', 'CREATE TABLE `姓名` (id int PRIMARY KEY)', 'SET NAMES utf8mb4', '@'],
  },
]

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    'a restore names every table that it has no rows of, and gives the rest as it was',
    { timeout: 900_000 },
    async () => {
      const cases = CASES.filter(({ on }) => on === undefined || on === flavour)
      await using backup = await MysqlBackup.prepare(
        flavour,
        cases.flatMap(({ setup }) => setup),
      )
      await backup.init()
      const first = await backup.up()
      await backup.caughtUp()
      first.child.kill('SIGKILL')
      await first.finished
      const points: (Pick<Case, 'what' | 'unknown'> & { at: string; expected: Said; isOfLater: boolean })[] =
        []
      for (const { what, steps, unknown, isOfLater = false } of cases)
        for (const [i, step] of steps.entries()) {
          if (step !== '@') await backup.run(step)
          else {
            const name = `p${points.length}`
            await backup.run(markerSql(name))
            const isLast = i === steps.length - 1
            points.push({
              what,
              at: `marker:${name}`,
              expected: await said(backup.source),
              ...(isLast && unknown !== undefined ? { unknown } : {}),
              isOfLater,
            })
          }
        }
      await backup.run('CREATE TABLE last (id int PRIMARY KEY)')
      await backup.up()
      const end = await backup.caughtUp()
      for (const { what, at, expected, unknown, isOfLater } of points) {
        const { left, into } = await restored(backup, at)
        expect.soft(left, `${what} at ${at}`).toEqual(expect.arrayContaining([...(unknown ?? [])]))
        // Nobody is sent to leave out what was not there, but where only the catalog of later tells what may be concerned.
        const needless = left.filter((name) => expected.creates[name] === undefined)
        if (!isOfLater) expect.soft(needless, what).toEqual([])
        expect
          .soft(await said(into), `${what} at ${at} without ${left.join(', ')}`)
          .toEqual(without(expected, left))
      }
      const { into, left } = await restored(backup, end)
      expect.soft(left).toEqual([])
      expect.soft(await said(into)).toEqual(await said(backup.source))
    },
  )

  test.skipIf(why !== undefined)(
    'a table that was made again is whole once it is copied, though nothing else happens',
    { timeout: 600_000 },
    async () => {
      await using backup = await MysqlBackup.prepare(flavour, [
        'CREATE TABLE idle (id int PRIMARY KEY)',
        'INSERT INTO idle VALUES (1)',
      ])
      await backup.init()
      await backup.up()
      await backup.run('DROP TABLE idle', 'CREATE TABLE idle (id int PRIMARY KEY, v int)')
      const end = await backup.caughtUp()
      for (const at of [end, 'latest']) {
        const { into } = await backup.restore(at)
        expect(await said(into), at).toEqual(await said(backup.source))
      }
    },
  )
})

/** With the tables left out that the refusal names, if it is one. */
async function restored(
  backup: MysqlBackup,
  at: string,
): Promise<{ readonly into: string; readonly left: readonly string[] }> {
  const into = await backup.bench.database(`into_${at.replace(/\W/g, '_')}`)
  const restore = ['restore', '--at', at, '--into', into, '--json']
  const refusal = await tidemark(restore, backup.folder)
  if (refusal.code === 0) return { into, left: [] }
  expect(refusal.last.error?.code, refusal.stdout).toBe('GAP')
  const next = refusal.last.error?.next ?? ''
  const left = [...next.matchAll(/--except-table '?chat\.([^ ']+)/g)].map(([, name]) => name!)
  okay(
    await tidemark(
      [...restore, ...left.flatMap((name) => ['--except-table', `chat.${name}`])],
      backup.folder,
    ),
  )
  return { into, left }
}

function without({ creates, checksums, rows }: Said, names: readonly string[]): Said {
  const kept = <T>(of: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(of).filter(([name]) => !names.includes(name)))
  return { creates: kept(creates), checksums: kept(checksums), rows: kept(rows) }
}
