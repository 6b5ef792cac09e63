/** Every type through the stream: inserted, updated and deleted behind the base, restored, and as the server prints it. */
import { expect, describe, test } from 'vitest'
import { MysqlBackup, okay } from '../support/mysql-backup.ts'
import { said } from '../support/mysql-oracle.ts'
import { BOTH, BYTES, type Case, MARIADB, MARIADB_BYTES, MYSQL } from '../support/mysql-types.ts'
import { type Flavour, whyNoMysql } from '../support/parts/mysql.ts'

/** What tables may have beside columns that anybody sees. */
const HIDDEN: Readonly<Record<Flavour, readonly string[]>> = {
  mysql: [
    'CREATE TABLE functional (id int PRIMARY KEY, v varchar(20), KEY ((UPPER(v))))',
    'CREATE TABLE unseen (id int PRIMARY KEY, v int INVISIBLE, g int AS (v + 1) INVISIBLE)',
  ],
  mariadb: [
    'CREATE TABLE functional (id int PRIMARY KEY, v text, UNIQUE KEY (v))',
    'CREATE TABLE unseen (id int PRIMARY KEY, v int INVISIBLE, g int AS (v + 1) INVISIBLE)',
  ],
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)
  const cases: readonly Case[] = [
    ...BOTH,
    ...BYTES,
    ...(flavour === 'mariadb' ? [...MARIADB, ...MARIADB_BYTES] : MYSQL),
  ]

  test.skipIf(why !== undefined)(
    'what is changed in every type is restored',
    { timeout: 600_000 },
    async () => {
      const made = cases.flatMap(([type], i) => [
        `CREATE TABLE m${i} (id int PRIMARY KEY, v ${type} NULL)`,
        `CREATE TABLE n${i} (v ${type} NULL)`,
      ])
      await using backup = await MysqlBackup.prepare(flavour, [...made, ...HIDDEN[flavour]])
      await backup.init()
      const running = await backup.up()
      for (const [i, [, ...values]] of cases.entries()) {
        for (const [n, value] of [...values, 'NULL'].entries())
          await backup.run(
            `INSERT IGNORE INTO m${i} VALUES (${n}, ${value}), (${n + 100}, NULL), (${n + 200}, ${value})`,
            `UPDATE IGNORE m${i} SET v = ${value} WHERE id = ${n + 100}`,
            `INSERT IGNORE INTO n${i} VALUES (${value}), (${value})`,
          )
        await backup.run(`DELETE FROM m${i} WHERE id >= 200`, `DELETE FROM n${i} LIMIT 1`)
      }
      await backup.run(
        `INSERT INTO functional VALUES (1, 'a'), (2, 'b')`,
        `UPDATE functional SET v = 'c' WHERE id = 1`,
        'INSERT INTO unseen (id, v) VALUES (1, 5), (2, NULL)',
        'DELETE FROM unseen WHERE id = 2',
      )
      await backup.caughtUp()
      const expected = await said(backup.source)
      running.child.kill('SIGTERM')
      okay(await running.finished)
      const { into, report } = await backup.restore('latest')
      expect(report).toMatchObject({ unmade: [] })
      expect(await said(into)).toEqual(expected)
    },
  )
})
