/** A night: a bad delete and a migration, found and undone with what `find` and the plan say; then the writer's keys and the copy are lost. */
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Backup, digests, shown } from '../support/backup.ts'
import { type Answer, tidemark } from '../support/cli.ts'

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
