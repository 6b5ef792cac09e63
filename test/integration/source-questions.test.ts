/** Small questions to the source share one connection: one after the other, with a limit, and none outlives it. */
import type pg from 'pg'
import { expect, test } from 'vitest'
import { SchemaReadings } from '../../services/engines/postgres/catalog/schema-reader.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { SourceQuestions } from '../../services/engines/postgres/source/source-questions.ts'
import { systemClock } from '../../services/core/clock.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { Backup } from '../support/backup.ts'

/** In a transaction of its own: its id twice, with other questions' time between. */
async function twice(client: pg.Client): Promise<readonly string[]> {
  const id = async (): Promise<string> =>
    (await client.query<{ id: string }>('SELECT pg_current_xact_id()::text AS id')).rows[0]!.id
  await client.query('BEGIN')
  const first = await id()
  await client.query('SELECT pg_sleep(0.01)')
  const second = await id()
  await client.query('COMMIT')
  return [first, second]
}

test('questions at once are not mixed, and nothing warns of them', async () => {
  await using backup = await Backup.prepare({})
  const questions = new SourceQuestions({ url: backup.sourceUrl, clock: systemClock })
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  try {
    const found = await Promise.all(Array.from({ length: 10 }, () => questions.ask(twice)))
    for (const [first, second] of found) expect(first).toBe(second)
    expect(new Set(found.map(([first]) => first)).size).toBe(10)
    // Warnings are told a turn later.
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings.filter((text) => text.includes('query'))).toEqual([])
  } finally {
    process.off('warning', onWarning)
    await questions.close()
  }
})

test('a question that fails leaves the next one a connection; a close ends those that wait, and leaves none behind', async () => {
  await using backup = await Backup.prepare({})
  const questions = new SourceQuestions({ url: backup.sourceUrl, clock: systemClock })
  const sleep = (client: pg.Client): Promise<unknown> => client.query('SELECT pg_sleep(600)')
  const refused = { code: 'SOURCE_UNREACHABLE' }
  const wrong = questions.ask((client) => client.query('SELECT 1 / 0'))
  const right = questions.ask(twice)
  await expect(wrong).rejects.toThrow()
  expect((await right).length).toBe(2)
  const waiting = Array.from({ length: LIMITS.waitingQuestions }, () => questions.ask(sleep))
  const outcomes = Promise.allSettled(waiting)
  await expect(questions.ask(sleep)).rejects.toMatchObject(refused)
  const connections = async (): Promise<number> =>
    Number(
      (
        await backup.source.query<{ n: string }>(
          `SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(600)%'`,
        )
      ).rows[0]!.n,
    )
  await expect.poll(connections, { timeout: 60_000 }).toBe(1)
  await questions.close()
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: refused })
  await backup.source.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND datname = current_database() AND pid <> pg_backend_pid()`,
  )
  await expect.poll(connections, { timeout: 60_000 }).toBe(0)
  expect((await questions.ask(twice)).length).toBe(2)
  await questions.close()
})

test('readings behind each other share a connection, read nothing twice, and miss nothing', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const asked: string[] = []
  const readings = new SchemaReadings({
    clock: systemClock,
    async connect() {
      const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      asked.push('a connection')
      const query = client.query.bind(client) as (sql: string) => Promise<pg.QueryResult>
      client.query = ((sql: string) => {
        if (sql.includes("'pg_ts_parser') AS comment")) asked.push('objects')
        return query(sql)
      }) as never
      return client
    },
  })
  try {
    const whole = await readings.whole()
    expect(asked[0]).toBe('a connection')
    // Roles are the whole server's: other tests' come and go, and are read.
    await backup.until(async () => {
      asked.length = 0
      const again = await readings.now()
      expect(again.statements).toEqual(whole.statements)
      expect(again.reading).not.toBe(whole.reading)
      return asked.length === 0
    })
    await backup.source.query('ALTER TABLE t ADD v text')
    const { statements } = await readings.now()
    expect(asked).toContain('objects')
    expect(asked).not.toContain('a connection')
    expect(statements.map(({ sql }) => sql).join()).toContain('"v" text')
    // The server may end it meanwhile.
    await backup.source.query(
      `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'test' AND datname = current_database()`,
    )
    asked.length = 0
    expect((await readings.now()).statements).toEqual(statements)
    expect(asked.slice(0, 2)).toEqual(['a connection', 'objects'])
  } finally {
    await readings.close()
  }
  await backup.until(async () => {
    const left = await backup.source.query(
      `SELECT FROM pg_stat_activity WHERE application_name = 'test' AND datname = current_database()`,
    )
    return left.rowCount === 0
  })
})
