/**
 * The main line on MariaDB and MySQL by the command line: init, base, stream, kill -9, restore into another database, and what the
 * server itself says of both.
 */
import { describe, expect, test } from 'vitest'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { MysqlBackup, okay } from '../support/mysql-backup.ts'
import { said } from '../support/mysql-oracle.ts'
import { type Flavour, whyNoMysql } from '../support/parts/mysql.ts'

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

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    'init, base, stream, kill -9, restore: what the server says of both is the same',
    { timeout: 600_000 },
    () => mainLine(flavour),
  )

  test.skipIf((why ?? NO_KAFKA) !== undefined)('the same through Kafka', { timeout: 600_000 }, async () =>
    mainLine(flavour, await sharedKafka()),
  )
})

async function mainLine(flavour: Flavour, kafka?: SharedKafka): Promise<void> {
  await using backup = await MysqlBackup.prepare(flavour, SCHEMA)
  const { source } = backup
  await write(source, 1)
  await backup.init(kafka)
  const first = await backup.up()
  await write(source, 2)
  await backup.caughtUp()
  await write(source, 3)
  first.child.kill('SIGKILL')
  await first.finished
  await write(source, 4)
  const second = await backup.up()
  await write(source, 5)
  const marked = await said(source)
  expect(await backup.tidemark('mark', 'right-here')).toMatchObject({ durable: true })
  await backup.run('DELETE FROM nokey')
  await backup.caughtUp()
  expect(await backup.tidemark('verify', '--against-source')).toMatchObject({ equal: true })
  const expected = await said(source)
  second.child.kill('SIGTERM')
  okay(await second.finished)
  const { into, report } = await backup.restore('latest')
  expect(report).toMatchObject({ unmade: [] })
  expect(await said(into)).toEqual(expected)
  expect(await said((await backup.restore('marker:right-here')).into)).toEqual(marked)
  const known = (await backup.tidemark('status')) as { known: { until: string } | null }
  expect(Date.parse(known.known?.until ?? '')).toBeLessThan(Date.now())
}
