/**
 * Nights: a bad delete and a migration, found and undone with what `find` and the plan say; then the writer's keys and the copy are lost. Somebody who
 * presses ^C, and gets the prompt back at once. Disks that are full. The same command again goes on, with nothing lost.
 */
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { Backup, digests, shown } from '../support/backup.ts'
import { type Answer, Running, tidemark } from '../support/cli.ts'
import { NO_SMALL_DISK, SmallDisk, Tablespace } from '../support/small-disk.ts'

afterAll(() => Running.killAll())

const SETUP = `CREATE TABLE messages (id int PRIMARY KEY, body text);
  INSERT INTO messages SELECT g, md5(g::text) FROM generate_series(1, 1000) g;
  CREATE TABLE legacy_reactions (id int PRIMARY KEY, emoji text);
  INSERT INTO legacy_reactions SELECT g, 'x' FROM generate_series(1, 50) g`

interface Found {
  readonly from: string
  readonly to: string
  readonly transactions: readonly {
    readonly xid: number
    readonly committedAt: string
    readonly rows: number
    readonly tables: readonly { readonly table: string; readonly deletes: number }[]
    readonly schema: readonly string[]
    readonly before: { readonly restorable: boolean; readonly without: readonly string[] }
  }[]
}

test('a night with a bad delete, a migration, lost keys and a lost store', { timeout: 600_000 }, async () => {
  await using backup = await Backup.start({ setup: SETUP })
  const run = async (...args: string[]): Promise<Answer> =>
    tidemark([...args, '--config', backup.configPath], backup.folder)
  await backup.durable()
  const copy = join(backup.folder, 'copy')
  const before = shown(await digests(backup.sourceUrl))
  await backup.source.query('DELETE FROM messages WHERE id > 400')
  await backup.source.query('DROP TABLE legacy_reactions')
  await backup.source.query(`INSERT INTO messages VALUES (2000, 'the night goes on')`)
  await backup.durable()
  const after = shown(await digests(backup.sourceUrl))

  // What happened: the migration is a schema change with its name; Tidemark's own records are not in the list.
  const found = (await run('find', '--json')).last as unknown as Found
  expect(found.transactions.map((t) => t.schema).flat()).toContain('DROP TABLE public.legacy_reactions')
  expect(found.transactions.flatMap((t) => t.tables).filter((t) => t.table.startsWith('tidemark'))).toEqual(
    [],
  )
  expect(Date.parse(found.to) - Date.parse(found.from)).toBe(2 * 3600 * 1000)
  const deletes = (await run('find', '--json', '--operation', 'delete')).last as unknown as Found
  const [bad] = deletes.transactions
  expect(bad).toMatchObject({ rows: 600, tables: [{ table: 'public.messages', deletes: 600 }], schema: [] })
  expect(bad!.before).toMatchObject({ restorable: true, without: [] })
  const people = await run('find', '--operation', 'delete')
  expect(people.stdout).toMatch(/^Searched \d{4}-.* to \d{4}-/)
  expect(people.stdout).toContain('600 deletes of public.messages')

  // The time of the bad transaction, pasted, has it: the plan says so, and what leaves it out.
  const pasted = await run('restore', '--dry-run', '--at', bad!.committedAt)
  expect(pasted.stdout).toMatch(/last in .*: 600 deletes of public\.messages/)
  expect(pasted.stdout).toContain(`without it: --at before:xid:${bad!.xid}`)
  expect(pasted.stdout).toMatch(/first out .*: DROP TABLE public\.legacy_reactions/)
  const into = await backup.emptyDatabase()
  const undone = await run('restore', '--json', '--at', `before:xid:${bad!.xid}`, '--into', into)
  expect(undone.last.ok, undone.stderr).toBe(true)
  expect(shown(await digests(into))).toEqual(before)
  // Where that one is, says so, once more asked.
  const again = await run('restore', '--json', '--at', 'latest', '--into', into)
  expect(again.last.error).toMatchObject({ code: 'TARGET_NOT_EMPTY' })

  // The writer's host burns down: keys and primary store are gone; the copy and the restore keys are left.
  expect((await run('copy', '--json', '--to', copy)).last.ok).toBe(true)
  await backup.stop()
  const safe = join(backup.folder, 'safe')
  await cp(join(backup.keys, 'restore'), safe, { recursive: true })
  await rm(backup.keys, { recursive: true })
  await rm(backup.storeUrl, { recursive: true })
  const gone = await run('find', '--json')
  expect(gone.last.error?.code).toBe('KEY_MISSING')
  const lost = await tidemark(['find', '--json', '--store', backup.storeUrl, '--keys', safe], backup.folder)
  expect(lost.last.error?.code).toBe('STORE_NOT_FOUND')
  const end = await backup.emptyDatabase()
  const saved = await tidemark(
    ['restore', '--json', '--at', 'latest', '--into', end, '--store', copy, '--keys', safe],
    backup.folder,
  )
  expect(saved.last.ok, saved.stderr + saved.stdout).toBe(true)
  expect(shown(await digests(end))).toEqual(after)
  expect(
    (await tidemark(['promote', '--json', '--yes', '--store', copy, '--keys', safe], backup.folder)).last.ok,
  ).toBe(true)
  const writer = join(backup.folder, 'keys-again')
  const recovered = await tidemark(
    ['keys', 'recover-writer', '--json', '--yes', '--store', copy, '--keys', safe, '--out', writer],
    backup.folder,
  )
  expect(recovered.last.ok, recovered.stdout).toBe(true)
  const listed = await tidemark(['keys', 'list', '--json', '--store', copy, '--keys', writer], backup.folder)
  expect(listed.last.ok, listed.stdout).toBe(true)
})

/** A load, then an index, then a check wait for whoever holds an advisory lock in the database: a restore stands still there. */
const STANDING_STILL = `CREATE TABLE settings (id int PRIMARY KEY);
  INSERT INTO settings SELECT generate_series(1, 10);
  CREATE TABLE messages (id int PRIMARY KEY, body text);
  INSERT INTO messages SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g;
  CREATE FUNCTION waits(value int, key int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(key); RETURN true; END';
  CREATE TABLE checked (id int PRIMARY KEY CHECK (waits(id, 3)), made bool GENERATED ALWAYS AS (waits(id, 1)) STORED);
  INSERT INTO checked VALUES (1), (2);
  CREATE INDEX late ON checked (waits(id, 2))`

test.each(['the command', 'the launcher of an older Node'])(
  'a night of ^C, to %s',
  { timeout: 600_000 },
  async (what) => {
    await using backup = await Backup.prepare({ setup: STANDING_STILL })
    await backup.init()
    const { folder: cwd, configPath } = backup
    const byLauncher = what.startsWith('the launcher')
    const up = (): Running => new Running(['up', '--json', '--config', configPath], { cwd, byLauncher })
    const stop = async (running: Running): Promise<void> => {
      running.interrupt()
      const answer = await running.ended(120_000)
      expect([answer.code, answer.last.ok], answer.stdout).toEqual([0, true])
      expect(answer.stdout).toContain('"drained":true')
    }

    // The base waits for somebody's open transaction: ^C does not, and nothing stays behind at the source.
    const open = await backup.client()
    await open.query('BEGIN; INSERT INTO settings VALUES (11)')
    const waiting = up()
    await waiting.said('"base-waiting"')
    await stop(waiting)
    await backup.until(async () => {
      const left = await backup.source.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark%'`,
      )
      return left.rows.length === 0
    })
    await open.query('COMMIT')

    // In the middle of the base, and once it streams.
    const copying = up()
    await copying.said('"base-table"')
    await stop(copying)
    await backup.source.query(`UPDATE messages SET body = 'new' WHERE id > 50000`)
    const going = up()
    await going.said('"streaming"')
    await stop(going)
    await backup.up()
    await backup.durable()
    await backup.stop()
    const wanted = shown(await digests(backup.sourceUrl))

    // In the middle of a restore, at each of the three.
    const into = await backup.emptyDatabase()
    await using holder = await connected(into)
    await holder.client.query('SELECT pg_advisory_lock(1), pg_advisory_lock(2), pg_advisory_lock(3)')
    const args = ['restore', '--json', '--at', 'latest', '--into', into, '--config', configPath]
    for (const key of [1, 2, 3]) {
      const restoring = new Running(args, { cwd, byLauncher })
      await backup.until(async () => {
        const { rows } = await holder.client.query(
          `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = ${key}
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        )
        return rows.length > 0
      })
      restoring.interrupt()
      const left = await restoring.ended(60_000)
      expect([left.code, left.last.error?.code], left.stderr).toEqual([130, 'INTERRUPTED'])
      await holder.client.query(`SELECT pg_advisory_unlock(${key})`)
    }
    const holds = await tidemark(['hold', 'list', '--json', '--config', configPath], cwd)
    expect(holds.last['holds']).toEqual([])
    const again = await tidemark(args, cwd)
    expect(again.last.ok, again.stdout).toBe(true)
    expect(shown(await digests(into))).toEqual(wanted)
  },
)

test('a night of full disks: the store, the scratch folder, the target', {
  timeout: 600_000,
}, async (context) => {
  using disk = SmallDisk.mount(40)
  if (disk === undefined) return context.skip(NO_SMALL_DISK)
  await using backup = await Backup.prepare({
    storeUrl: join(disk.folder, 'store'),
    setup: `CREATE TABLE messages (id int PRIMARY KEY, body text)`,
  })
  await backup.init()
  const { folder: cwd, configPath } = backup
  const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Answer> =>
    tidemark([...args, '--json', '--config', configPath], cwd, env)
  const up = (): Running => new Running(['up', '--json', '--config', configPath], { cwd })

  // The store's disk is full: the backup waits, and what it has can be found and restored.
  const first = up()
  await first.said('"streaming"')
  const ballast = disk.fill()
  await backup.source.query(
    `INSERT INTO messages SELECT g, (SELECT string_agg(md5(h::text), '') FROM generate_series(g, g + 9) h) FROM generate_series(1, 60000) g`,
  )
  await first.said('"STORE_FULL"')
  const found = (await run(['find'])).last as unknown as Found
  expect(Date.parse(found.from)).toBeGreaterThan(Date.parse('2026-01-01T00:00:00Z'))
  const marked = await run(['mark', 'full'])
  expect([marked.code, marked.last.error?.code]).toEqual([12, 'MARKER_NOT_DURABLE'])
  expect(marked.last.error?.message).toContain('STORE_FULL')
  expect(marked.last.error?.next).toMatch(/make room.*tidemark windows/)
  const early = await run(['restore', '--at', 'latest', '--into', await backup.emptyDatabase()])
  expect(early.last.ok, early.stdout).toBe(true)

  // ^C says that it waits for room, a second one does not wait; another `up` waits as well, and goes on by itself.
  first.interrupt()
  await first.said('"draining"')
  first.interrupt()
  const left = await first.ended()
  expect([left.code, left.last.ok]).toEqual([0, true])
  expect(left.stdout).toContain('"drained":false')
  const second = up()
  await second.said('"STORE_FULL"')
  await rm(ballast)
  await second.said('"durable"')
  second.interrupt()
  await second.ended()
  const wanted = shown(await digests(backup.sourceUrl))

  // The scratch folder's, then the target's: the same command goes on where there is room.
  using small = SmallDisk.mount(16)!
  await using space = await Tablespace.make(backup.serverUrl, small)
  const into = await backup.emptyDatabase(`TABLESPACE ${space.name}`)
  const restore = ['restore', '--at', 'latest', '--into', into, '--fold-memory', '16']
  disk.fill()
  const scratch = await run(restore, { TMPDIR: disk.folder })
  expect([scratch.code, scratch.last.error?.code], scratch.stdout).toEqual([1, 'SPILL_FAILED'])
  await rm(ballast)
  const target = await run(restore, { TMPDIR: disk.folder })
  expect([target.code, target.last.error?.code], target.stdout).toEqual([8, 'TARGET_FULL'])
  small.resize(200)
  const done = await run(restore, { TMPDIR: disk.folder })
  expect(done.last.ok, done.stdout).toBe(true)
  expect(shown(await digests(into))).toEqual(wanted)
})

async function connected(url: string): Promise<AsyncDisposable & { readonly client: pg.Client }> {
  const client = new pg.Client(url)
  await client.connect()
  return { client, [Symbol.asyncDispose]: () => client.end() }
}
