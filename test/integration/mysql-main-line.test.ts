/**
 * The main line on MariaDB and MySQL by the command line: init, base, stream, kill -9, restore into another database, and what the
 * server itself says of both.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { type Answer, Running, tidemark } from '../support/cli.ts'
import { said } from '../support/mysql-oracle.ts'
import { type Flavour, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

const SCHEMA = [
  `CREATE TABLE users (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(50) CHARACTER SET latin1, UNIQUE KEY by_name (name))`,
  `CREATE TABLE messages (room int NOT NULL, n bigint NOT NULL, author bigint unsigned, body mediumtext, at datetime(3) DEFAULT CURRENT_TIMESTAMP(3), twice bigint AS (n * 2) STORED, virt bigint AS (n * 3) VIRTUAL, PRIMARY KEY (room, n), KEY by_author (author), CONSTRAINT fk FOREIGN KEY (author) REFERENCES users (id))`,
  'CREATE TABLE nokey (a int, b decimal(20,5), c blob, d timestamp(6) NULL, e float, f double)',
  `CREATE TABLE moved (k varchar(20) CHARACTER SET utf8mb4 PRIMARY KEY, j json, s set('x','y'), y year, z date, t time(2), b bit(9))`,
  'CREATE VIEW talkers AS SELECT DISTINCT author FROM messages',
]

async function write(url: string, round: number): Promise<void> {
  const { connection } = await connect(url, "SET sql_mode = '', time_zone = '+00:00'")
  const first = round * 100
  await connection.query(`INSERT INTO users (name) VALUES ('user ${round} é'), (NULL)`)
  for (let i = 0; i < 10; i++) {
    await connection.query('BEGIN')
    await connection.query(
      `INSERT INTO messages (room, n, author, body) SELECT 1, ${first + i * 10} + id, id, REPEAT('€ text\\n', 20) FROM users LIMIT 5`,
    )
    await connection.query(
      `UPDATE messages SET body = 'edited', n = n + 1000000 WHERE n = ${first + i * 10 + 1}`,
    )
    await connection.query(`DELETE FROM messages WHERE n = ${first + i * 10 + 2}`)
    await connection.query(
      `INSERT INTO nokey VALUES (${i}, ${i}.5, x'00ff27095c0a', '2020-01-02 03:04:05.${round}', 0.1, 1e100), (${i}, NULL, NULL, NULL, NULL, -0e0)`,
    )
    await connection.query('DELETE FROM nokey WHERE a = 3 LIMIT 1')
    await connection.query(
      `INSERT INTO moved VALUES ('${round}.${i}', '{"a": [1, 2.50]}', 'x,y', ${i === 0 ? 0 : 2000 + i}, '0000-00-00', '-12:00:00.5', b'100000001')`,
    )
    await connection.query(`UPDATE moved SET k = CONCAT(k, '!') WHERE k = '${round}.${i}'`)
    await connection.query(i === 7 ? 'ROLLBACK' : 'COMMIT')
  }
  await connection.end()
}

async function okay(answer: Promise<Answer>): Promise<Answer['last']> {
  const { code, last, stdout, stderr } = await answer
  expect(code, `${stdout.slice(-1500)} ${stderr.slice(-800)}`).toBe(0)
  return last
}

/** Until everything that is in the source by now is in the store. */
async function caughtUp(folder: string): Promise<void> {
  for (const deadline = performance.now() + 60_000; ; ) {
    const { lag, gaps } = (await okay(tidemark(['status', '--json'], folder))) as {
      lag: { bytes: number } | null
      gaps: { to: string | null }[]
    }
    if (lag?.bytes === 0 && gaps.every((gap) => gap.to !== null)) return
    if (performance.now() > deadline) throw new Error(`still behind: ${JSON.stringify({ lag, gaps })}`)
  }
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    'init, base, stream, kill -9, restore: what the server says of both is the same',
    { timeout: 600_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
      try {
        await using bench = await startMysql(flavour, join(folder, 'server'))
        const source = await bench.database('chat')
        const { connection } = await connect(source)
        for (const sql of SCHEMA) await connection.query(sql)
        await write(source, 1)
        await okay(
          tidemark(
            [
              'init',
              '--source',
              source,
              '--store',
              join(folder, 'store'),
              '--name',
              'chat',
              '--yes',
              '--json',
            ],
            folder,
          ),
        )
        const config = join(folder, 'tidemark.yaml')
        await writeFile(config, (await readFile(config, 'utf8')).replace('age: 5s', 'age: 300ms'))
        const first = new Running(['up', '--json'], { cwd: folder })
        await first.said('"streaming"')
        await write(source, 2)
        await caughtUp(folder)
        await write(source, 3)
        first.child.kill('SIGKILL')
        await first.finished
        await write(source, 4)
        const second = new Running(['up', '--json'], { cwd: folder })
        await second.said('"streaming"')
        await write(source, 5)
        await caughtUp(folder)
        const verified = await okay(tidemark(['verify', '--against-source', '--json'], folder))
        expect(verified).toMatchObject({ equal: true })
        const expected = await said(source)
        second.child.kill('SIGTERM')
        await okay(second.finished)
        const into = await bench.database('back')
        const restored = await okay(tidemark(['restore', '--at', 'latest', '--into', into, '--json'], folder))
        expect(restored).toMatchObject({ unmade: [] })
        expect(await said(into)).toEqual(expected)
        await connection.end()
      } finally {
        await Running.killAll()
        await rm(folder, { recursive: true, force: true })
      }
    },
  )
})
