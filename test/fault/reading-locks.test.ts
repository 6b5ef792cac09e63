/** What is read of the schema is locked while it is printed: an application that locks tables itself must not die of it. */
import { describe, expect, test } from 'vitest'
import { SchemaReader } from '../../services/engines/postgres/catalog/read-schema.ts'
import { connect, connectionError } from '../../services/engines/postgres/session/session.ts'
import { factsOf } from '../../services/core/error-codes.ts'
import { Backup, oneVersion } from '../support/backup.ts'

const SETUP = `CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int);
CREATE VIEW of_a AS SELECT id FROM a; CREATE VIEW of_c AS SELECT id FROM c; CREATE VIEW b_itself AS SELECT id FROM b; CREATE VIEW of_b AS SELECT id FROM b_itself`

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('an application takes two relations for itself that a reading prints: it gets both, and the reading goes on', async () => {
    await using backup = await Backup.prepare({ version, setup: SETUP })
    await backup.init()
    const url = backup.sourceUrl
    const session = (): ReturnType<typeof connect> =>
      connect({ url, applicationName: 'test', role: 'source' })
    const [client, application, watching] = [await session(), await session(), await session()]
    try {
      // Whoever looks for deadlocks ends itself: the application shall be the one.
      await client.query("SET deadlock_timeout = '1h'")
      const pid = (await client.query<{ p: number }>('SELECT pg_backend_pid() AS p')).rows[0]!.p
      await application.query(
        'BEGIN; CREATE OR REPLACE VIEW public.b_itself AS SELECT id + 1 AS id FROM public.b',
      )
      const reading = new SchemaReader().read(client)
      reading.catch(() => undefined)
      const waits = `SELECT FROM pg_locks WHERE pid = ${pid} AND NOT granted`
      await expect
        .poll(async () => (await watching.query(waits)).rowCount, { timeout: 60_000, interval: 5 })
        .toBe(1)
      await application.query(
        'LOCK TABLE public.a, public.c IN ACCESS EXCLUSIVE MODE; ALTER TABLE public.c ADD COLUMN more int; COMMIT',
      )
      const { statements, notes } = await reading
      for (const name of ['of_a', 'of_b', 'of_c'])
        expect(
          statements.some(({ sql }) => sql.includes(`VIEW "public"."${name}"`)),
          name,
        ).toBe(true)
      expect(statements.some(({ sql }) => sql.includes('"more" integer'))).toBe(true)
      expect(notes).toEqual([])
      await expect(backup.source.query('DROP TABLE a, b, c CASCADE')).resolves.toBeDefined()
    } finally {
      for (const one of [client, application, watching]) await one.end()
    }
  })

  test('what a command takes away is recorded without a look into tables that others have locked', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE locked (id int NOT NULL); CREATE UNIQUE INDEX its ON locked (id); ALTER TABLE locked REPLICA IDENTITY USING INDEX its;
        CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE plain (id int PRIMARY KEY, v int); CREATE INDEX plain_v ON plain (v)`,
    })
    await backup.init()
    const other = await backup.client()
    await other.query('BEGIN; LOCK TABLE locked')
    for (const sql of [
      'DROP TABLE gone',
      'ALTER TABLE keyed DROP CONSTRAINT keyed_pkey',
      'DROP INDEX plain_v',
    ])
      await backup.source.query(`SET lock_timeout = '5s'; ${sql}`)
    const { rows } = await backup.source.query<{ n: string }>(
      `SELECT relreplident AS n FROM pg_class WHERE relname = 'keyed'`,
    )
    expect(rows).toEqual([{ n: 'f' }])
    const told = await backup.source.query(
      `SELECT FROM tidemark.ddl WHERE command <> 'INIT' AND kind = 'drop'`,
    )
    expect(told.rowCount).toBeGreaterThanOrEqual(2)
  })

  test('a deadlock in which Tidemark is the one that ends is tried again', async () => {
    await using backup = await Backup.prepare({ version, setup: SETUP })
    const session = (): ReturnType<typeof connect> =>
      connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
    const [one, other] = [await session(), await session()]
    try {
      await one.query("SET deadlock_timeout = '1h'")
      await one.query('BEGIN; LOCK TABLE public.a')
      await other.query('BEGIN; LOCK TABLE public.b')
      const waiting = one.query('LOCK TABLE public.b')
      const ended = await other.query('LOCK TABLE public.a').catch((error: unknown) => error)
      const error = connectionError(ended, 'source')
      expect(error.code).toBe('SOURCE_BUSY')
      expect(factsOf(error.code).retry).toBe('again')
      expect(error.message).toContain('deadlock detected (40P01)')
      await other.query('ROLLBACK')
      await waiting
    } finally {
      for (const client of [one, other]) await client.end()
    }
  })
})
