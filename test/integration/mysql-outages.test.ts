/** What goes wrong around MariaDB and MySQL: crashes of Tidemark while tables are copied, of the server, of a restore; log that is gone. */
import { describe, expect, test } from 'vitest'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { Running } from '../support/cli.ts'
import { MysqlBackup, okay } from '../support/mysql-backup.ts'
import { said } from '../support/mysql-oracle.ts'
import { type Flavour, whyNoMysql } from '../support/parts/mysql.ts'

const SETUP = [
  'CREATE TABLE m (id int PRIMARY KEY AUTO_INCREMENT, v varchar(200))',
  'CREATE TABLE nokey (v int)',
  'CREATE TABLE big (v mediumtext)',
  `INSERT INTO big VALUES (REPEAT('big', 5000))`,
  `INSERT INTO m (v) VALUES (REPEAT('x', 100)), (REPEAT('y', 100)), (NULL)`,
  ...Array.from({ length: 10 }, () => 'INSERT INTO m (v) SELECT v FROM m'),
  'INSERT INTO nokey SELECT id % 7 FROM m LIMIT 500',
]

/** Writes until told to end, each transaction whole. */
async function write(url: string, over: { yet: boolean }): Promise<void> {
  const { connection } = await connect(url)
  for (let i = 0; !over.yet; i++) {
    await connection.query('BEGIN')
    await connection.query(`INSERT INTO m (v) VALUES ('round ${i}')`)
    await connection.query(`UPDATE m SET v = CONCAT('u', ${i}) WHERE id = ${1 + (i % 50)}`)
    await connection.query(`DELETE FROM m WHERE id = ${60 + i}`)
    await connection.query(`INSERT INTO nokey VALUES (${i % 5}), (${i % 5})`)
    await connection.query(`DELETE FROM nokey WHERE v = ${i % 3} LIMIT 1`)
    await connection.query('COMMIT')
  }
  await connection.end()
}

async function sameAtLatest(backup: MysqlBackup, running: Running): Promise<void> {
  await backup.caughtUp()
  const expected = await said(backup.source)
  running.child.kill('SIGTERM')
  okay(await running.finished)
  const { into, report } = await backup.restore('latest')
  expect(report).toMatchObject({ unmade: [] })
  expect(await said(into)).toEqual(expected)
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)
  const limit = { timeout: 600_000 }

  test.skipIf(why !== undefined)('kill -9 at points of base and stream, under traffic', limit, async () => {
    await using backup = await MysqlBackup.prepare(flavour, SETUP)
    await backup.init()
    const over = { yet: false }
    const writer = write(backup.source, over)
    for (const point of [
      'base-snapshot',
      'table-entry:2',
      'before-base-entry',
      'segment-stored:2',
      'after-entry:3',
    ]) {
      const running = new Running(['up', '--json'], { cwd: backup.folder, env: { TIDEMARK_CRASH_AT: point } })
      expect((await running.ended()).signal, point).toBe('SIGKILL')
    }
    const last = await backup.up()
    over.yet = true
    await writer
    await sameAtLatest(backup, last)
  })

  test.skipIf(why !== undefined)('log that was purged ends in a gap, and a new base', limit, async () => {
    await using backup = await MysqlBackup.prepare(flavour, SETUP)
    await backup.init()
    const first = await backup.up()
    await backup.caughtUp()
    first.child.kill('SIGKILL')
    await first.finished
    await backup.run(
      `INSERT INTO m (v) VALUES ('never read')`,
      'FLUSH BINARY LOGS',
      `INSERT INTO m (v) VALUES ('behind')`,
      'FLUSH BINARY LOGS',
    )
    const [logs] = (await backup.connection.query('SHOW BINARY LOGS')) as unknown as [{ Log_name: string }[]]
    await backup.run(`PURGE BINARY LOGS TO '${logs.at(-1)!.Log_name}'`)
    const second = await backup.up()
    expect(second.output).toContain('"generation"')
    await backup.run(`INSERT INTO m (v) VALUES ('new')`)
    await sameAtLatest(backup, second)
  })

  test.skipIf(why !== undefined)(
    'doctor says what is wrong with a source, init refuses it',
    limit,
    async () => {
      await using backup = await MysqlBackup.prepare(flavour, [
        'CREATE TABLE other (id int) ENGINE = MyISAM',
        'CREATE TABLE p (id int PRIMARY KEY)',
        'CREATE TABLE c (p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)',
        "SET GLOBAL binlog_row_image = 'MINIMAL'",
      ])
      await expect(backup.init()).rejects.toThrow(/binlog_row_image is MINIMAL/)
      await backup.run("SET GLOBAL binlog_row_image = 'FULL'")
      await backup.init()
      const { findings } = (await backup.tidemark('doctor')) as unknown as {
        findings: { code: string; what: string }[]
      }
      expect(findings).toContainEqual(
        expect.objectContaining({ code: 'TABLE_LEFT_OUT', what: expect.stringContaining('chat.other') }),
      )
      expect(findings).toContainEqual(
        expect.objectContaining({ code: 'CASCADES', what: expect.stringContaining(' c ') }),
      )
    },
  )

  test.skipIf(why !== undefined)(
    'a restore that was cut off goes on; nothing goes over what is there',
    limit,
    async () => {
      await using backup = await MysqlBackup.prepare(flavour, SETUP)
      await backup.init()
      const running = await backup.up()
      await backup.caughtUp()
      const expected = await said(backup.source)
      running.child.kill('SIGTERM')
      okay(await running.finished)
      await expect(backup.tidemark('restore', '--at', 'latest', '--into', backup.source)).rejects.toThrow(
        'TARGET_IS_SOURCE',
      )
      const into = await backup.bench.database('back')
      const target = await connect(into)
      await target.connection.query('CREATE TABLE m (id int)')
      await expect(backup.tidemark('restore', '--at', 'latest', '--into', into)).rejects.toThrow(
        'TARGET_NOT_EMPTY',
      )
      await target.connection.query('DROP TABLE m')
      // For a while the target takes no row of this size.
      await backup.run('SET GLOBAL local_infile = OFF', 'SET GLOBAL max_allowed_packet = 4096')
      const restore = ['restore', '--at', 'latest', '--into', into] as const
      await expect(backup.tidemark(...restore)).rejects.toThrow('larger than max_allowed_packet')
      await expect(backup.tidemark(...restore, '--except-table', 'chat.nokey')).rejects.toThrow(
        'unfinished restore',
      )
      await backup.run('SET GLOBAL max_allowed_packet = 16777216')
      await backup.tidemark('restore', '--at', 'latest', '--into', into)
      expect(await said(into)).toEqual(expected)
      await target.connection.end()
    },
  )
})
