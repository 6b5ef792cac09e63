/** Small questions to the source share one connection: one after the other, with a limit, and none outlives it. */
import type pg from 'pg'
import { expect, test } from 'vitest'
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
