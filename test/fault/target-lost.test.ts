/** The target's server goes away in the middle of a restore: said as that at every step, and the same restore goes on behind it. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import type { Target } from '../../services/core/ports/target.ts'
import type { SchemaStatement } from '../../services/core/transaction.ts'
import { openPostgresTarget } from '../../services/engines/postgres/target/answering-target.ts'
import { Backup, oneVersion } from '../support/backup.ts'

const T = { schema: 'public', name: 't', columns: ['id'] }
const CREATE: SchemaStatement = {
  sql: 'CREATE TABLE public.t (id bigint NOT NULL)',
  phase: 'before',
  rank: 20,
  objects: [{ kind: 'table', schema: 'public', name: 't' }],
}
const INDEX: SchemaStatement = {
  sql: 'CREATE INDEX i ON public.t (id)',
  phase: 'after',
  rank: 70,
  objects: [{ kind: 'index', schema: 'public', name: 'i', table: 't' }],
}
const signal = new AbortController().signal
const nothing = (): void => undefined

async function* rows(): AsyncIterable<Buffer> {
  yield Buffer.from('1\n')
}

/** Whatever a restore asks of its target. */
const STEPS: Readonly<Record<string, (target: Target) => Promise<unknown>>> = {
  begin: (target) => target.begin('a'),
  run: (target) => target.run([INDEX], 0, nothing, signal),
  'run in another lane': (target) => target.run([INDEX], 1, nothing, signal),
  load: (target) => target.load(T, 'text', rows(), signal),
  remember: (target) => target.remember('a fact'),
  remembered: (target) => target.remembered(),
  missingTypes: (target) => target.missingTypes(['integer']),
  digest: (target) => target.digest([T]),
  finish: (target) => target.finish(),
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test.each(Object.keys(STEPS))('%s', async (step) => {
    // A lane that is gone is opened again.
    const goesOn = step.startsWith('run')
    await using backup = await Backup.prepare({ version })
    const url = await backup.emptyDatabase()
    const source = {
      origin: { systemId: 'another', databaseOid: 1 },
      encoding: 'UTF8',
      serverVersion: 180000,
    }
    const open = (): Target => openPostgresTarget({ url, source })
    const target = open()
    await target.begin('a')
    await target.run([CREATE], 0, nothing, signal)
    await target.run([], 1, nothing, signal)
    await cut(url)
    const refused = await STEPS[step]!(target).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (goesOn) expect(refused).toBeUndefined()
    else
      expect(refused).toMatchObject({
        code: 'TARGET_UNREACHABLE',
        next: expect.stringContaining('the same restore again') as string,
      })
    await target.close()
    const again = open()
    expect(await again.check('a')).toBe('resume')
    await again.begin('a')
    await STEPS[step]!(again)
    await again.close()
  })
})

/** All sessions of the database end, as with its server. */
async function cut(url: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query(
    `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  )
  await client.end()
}
