/** A restore that cannot go on ends at once, and says why. */
import { TESTER } from '../support/actor.ts'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { restore } from '../../services/app/operations/restore.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, withDatabase } from '../support/backup.ts'
import { Running } from '../support/cli.ts'

afterAll(() => Running.killAll())

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  return client
}

test('an interrupt in the load ends the restore at once', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE second (id int PRIMARY KEY); INSERT INTO first VALUES (1), (2); INSERT INTO second VALUES (1)`,
  })
  const at = positionText(await backup.durable())
  // The end of the backup stays where it is: another end would be another point.
  await backup.stop()
  const into = await backup.emptyDatabase()
  const stop = new AbortController()
  const place = { storeUrl: backup.storeUrl, keys: backup.keys }
  // A first try makes the tables; then one of them is locked, and the second try has to wait for it.
  await expect(
    restore({
      actor: TESTER,
      ...place,
      at,
      into,
      exceptTables: [],
      dryRun: false,
      signal: stop.signal,
      events: {
        onProgress: (p) =>
          p.stage === 'schema' && p.done === p.total && stop.abort(new DOMException('stop', 'AbortError')),
      },
    }),
  ).rejects.toThrow()
  const holder = await connected(into)
  const admin = await connected(withDatabase(backup.serverUrl, new URL(into).pathname.slice(1)))
  try {
    await holder.query('BEGIN; LOCK TABLE first, second IN ACCESS EXCLUSIVE MODE')
    const args = [
      'restore',
      '--at',
      at,
      '--into',
      into,
      '--store',
      backup.storeUrl,
      '--keys',
      backup.keys,
      '--json',
    ]
    const run = new Running(args, { cwd: backup.folder })
    await backup.until(async () => {
      const { rows } = await admin.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%TRUNCATE%'`,
      )
      return rows.length > 0
    })
    run.child.kill('SIGINT')
    const answer = await run.ended(60_000)
    expect([answer.code, answer.last.error?.code]).toEqual([130, 'INTERRUPTED'])
  } finally {
    await holder.end()
    await admin.end()
  }
})
