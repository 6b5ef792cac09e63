/** What a restore holds in the backup: a try that was killed leaves its hold, and the next one into that target ends it; no other hold is touched. */
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { TESTER } from '../support/actor.ts'
import { addHold, type HoldReport } from '../../services/app/operations/holds.ts'
import { placeOf } from '../../services/app/wiring/open-backup.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup } from '../support/backup.ts'
import { Running, tidemark } from '../support/cli.ts'

afterAll(() => Running.killAll())

/** An index waits for whoever holds an advisory lock in the database: a restore stands still there. */
const SETUP = `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
  CREATE FUNCTION waits(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(1); RETURN true; END';
  CREATE INDEX late ON t (waits(id))`

test('a restore that was killed and is run again leaves no hold, and takes no other', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  const at = positionText(await backup.durable())
  await backup.stop()
  const { folder: cwd, configPath } = backup
  const holds = async (): Promise<readonly HoldReport[]> =>
    (await tidemark(['hold', 'list', '--json', '--config', configPath], cwd)).last['holds'] as HoldReport[]
  const { hold: legal } = await addHold({
    actor: TESTER,
    place: placeOf(backup.config),
    reason: 'a court',
    from: at,
    to: at,
    until: undefined,
    signal: new AbortController().signal,
  })

  // Two of the same point, in two targets: both stand still, and the first is killed.
  const targets: { readonly into: string; readonly holder: pg.Client; running: Running }[] = []
  const start = (into: string): Running =>
    new Running(['restore', '--json', '--at', at, '--into', into, '--config', configPath], { cwd })
  try {
    for (const _ of [1, 2]) {
      const into = await backup.emptyDatabase()
      const holder = new pg.Client(into)
      await holder.connect()
      await holder.query('SELECT pg_advisory_lock(1)')
      targets.push({ into, holder, running: start(into) })
      await backup.until(async () => {
        const { rows } = await holder.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`,
        )
        return rows.length > 0
      })
    }
    const [first, second] = [targets[0]!, targets[1]!]
    first.running.child.kill('SIGKILL')
    await first.running.ended()
    const before = await holds()
    expect(before.map(({ purpose }) => purpose).sort()).toEqual(['legal', 'restore', 'restore'])

    await first.holder.query('SELECT pg_advisory_unlock(1)')
    const again = await start(first.into).ended()
    expect(again.last.ok, again.stdout).toBe(true)
    const after = await holds()
    expect(after.map(({ id }) => id)).toContain(legal.id)
    expect(after.filter(({ purpose }) => purpose === 'restore').length).toBe(1)

    // What a target says that is not its own hold is not believed.
    second.running.child.kill('SIGKILL')
    await second.running.ended()
    await second.holder.query('UPDATE tidemark_restore.state SET hold = $1', [legal.id])
    await second.holder.query('SELECT pg_advisory_unlock(1)')
    const forged = await start(second.into).ended()
    expect(forged.last.ok, forged.stdout).toBe(true)
    expect((await holds()).map(({ id }) => id)).toContain(legal.id)

    // Once more: it is done.
    const done = await start(first.into).ended()
    expect(done.last.error).toMatchObject({ code: 'TARGET_NOT_EMPTY' })
    expect(`${done.last.error?.means} ${done.last.error?.next}`).toMatch(/finished.*exit code 0 or 11/s)
  } finally {
    for (const { holder } of targets) await holder.end()
  }
})
