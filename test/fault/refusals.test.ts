/** What is refused before anything is done: sources, settings and rights that do not serve; and what uninstall leaves: nothing. */
import { readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseConfig } from '../../services/app/config/config.ts'
import type { TidemarkError } from '../../services/core/errors.ts'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'
import { dropSlot } from '../support/slot.ts'

const SETUP =
  'CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT i, md5(i::text) FROM generate_series(1, 500) i'

test('sources that would lose changes or harm the application are refused', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.stop()
  await backup.source.query(`ALTER PUBLICATION ${backup.slot} SET (publish = 'insert')`)
  await expect(backup.up()).rejects.toMatchObject({ code: 'PUBLICATION_UNSAFE' })
  await backup.source.query(
    `ALTER PUBLICATION ${backup.slot} SET (publish = 'insert, update, delete, truncate')`,
  )
  await backup.source.query('ALTER EVENT TRIGGER tidemark_ddl DISABLE')
  await expect(backup.up()).rejects.toMatchObject({ code: 'EVENT_TRIGGERS' })
  await backup.source.query('ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS')
  await using other = await Backup.prepare({ setup: SETUP })
  await expect(backup.up({ sourceUrl: other.sourceUrl })).rejects.toMatchObject({
    code: expect.stringMatching(/SOURCE_CHANGED|SLOT_MISSING|PUBLICATION_UNSAFE/) as string,
  })
})

test('uninstall leaves nothing behind', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.stop()
  const answer = await tidemark(
    ['uninstall', '--yes', '--json', '--config', backup.configPath],
    backup.folder,
  )
  expect(answer.last.ok, answer.stdout).toBe(true)
  const left = await backup.source.query(
    `SELECT nspname AS x FROM pg_namespace WHERE nspname LIKE 'tidemark%' UNION ALL SELECT evtname FROM pg_event_trigger UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database()`,
  )
  expect(left.rows).toEqual([])
  // What would go on with the old backup makes nothing in the source that nobody takes away again.
  for (const again of [[], ['--new-generation']]) {
    const refused = await tidemark(['up', '--json', '--config', backup.configPath, ...again], backup.folder)
    expect(refused.last.error?.code).toBe(again.length === 0 ? 'SLOT_MISSING' : 'INSTALLATION_MISSING')
  }
  const upgraded = await tidemark(
    ['init', '--upgrade', '--json', '--config', backup.configPath],
    backup.folder,
  )
  expect(upgraded.last).toMatchObject({ published: true, hasSlot: false })
  const slots = await backup.source.query(
    'SELECT slot_name FROM pg_replication_slots WHERE database = current_database()',
  )
  expect(slots.rows).toEqual([])
})

test('uninstall behind a DROP SCHEMA tidemark CASCADE takes away slot and publication, and names the tables with FULL', async () => {
  await using backup = await Backup.start({ setup: `${SETUP}; CREATE TABLE keyless (v text)` })
  await backup.stop()
  await backup.source.query('DROP SCHEMA tidemark CASCADE')
  const answer = await tidemark(
    ['uninstall', '--yes', '--json', '--config', backup.configPath],
    backup.folder,
  )
  expect(answer.last, answer.stdout).toMatchObject({
    ok: true,
    left: [
      expect.stringMatching(/^ALTER TABLE ONLY "?public"?\."?keyless"? REPLICA IDENTITY DEFAULT /) as string,
    ],
  })
  const left = await backup.source.query(
    `SELECT evtname AS x FROM pg_event_trigger UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database()`,
  )
  expect(left.rows).toEqual([])
})

test('another database is not adopted, and doctor looks at the store and the keys that are named', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await backup.stop()
  await using other = await Backup.prepare({ setup: SETUP })
  const run = (...args: string[]) =>
    tidemark([...args, '--json', '--config', backup.configPath], backup.folder)
  const elsewhere = await run('doctor', '--store', join(backup.folder, 'nowhere'))
  expect(elsewhere.last.error?.code).toBe('STORE_NOT_FOUND')
  await other.init()
  expect((await run('doctor', '--keys', other.keys)).last.error?.code).toBe('STORE_FOREIGN')
  expect((await run('doctor')).last.error).toBeUndefined()
  await using fresh = await Backup.prepare({ setup: SETUP })
  const settings = await readFile(backup.configPath, 'utf8')
  await writeFile(backup.configPath, settings.replaceAll(backup.database, fresh.database))
  // In front of everything else that such a database lacks.
  expect((await run('doctor')).last.error?.code).toBe('SOURCE_CHANGED')
  expect((await run('init', '--upgrade', '--yes')).last.error?.code).toBe('SOURCE_CHANGED')
  const made = await fresh.source.query(`SELECT FROM pg_namespace WHERE nspname = 'tidemark'`)
  expect(made.rowCount).toBe(0)
})

test('a generation that ended by itself goes on in no other database, and in one that somebody chose', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await backup.stop()
  await backup.source.query('DROP SCHEMA tidemark CASCADE')
  await expect(backup.up()).rejects.toMatchObject({ code: 'INSTALLATION_MISSING' })
  await using other = await Backup.prepare({ setup: SETUP })
  await other.init()
  await other.source.query(`ALTER PUBLICATION ${other.slot} RENAME TO ${backup.slot}`)
  const { sourceUrl } = other
  await expect(backup.up({ sourceUrl })).rejects.toMatchObject({ code: 'SOURCE_CHANGED' })
  await dropSlot(backup)
  await backup.up({ sourceUrl, newGeneration: 'begun by hand' })
  await backup.stop()
})

test('what is mistyped is not taken for something that is not there', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await expect(backup.restore('latest', { exceptTables: ['public.n'] })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('there are public.m') as string,
  })
  const left = await backup.restore('latest', { exceptTables: ['public.m'] })
  expect(left.plan.excluded).toEqual(['public.m'])
  const over = ['hold', 'add', '--reason', 'a dispute', '--until', '2020-01-01T00:00:00Z']
  const held = await tidemark([...over, '--json', '--config', backup.configPath], backup.folder)
  expect(held.last.error).toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('is over') as string,
  })
  expect(held.code).toBe(2)
})

test('init: wrong URL, wrong password, no privilege, consent', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE nokey (v int)' })
  const run = async (source: string, extra: string[] = []) =>
    (
      await tidemark(
        [
          'init',
          '--source',
          source,
          '--store',
          join(backup.folder, 'st'),
          '--keys',
          join(backup.folder, 'ke'),
          '--config',
          join(backup.folder, 'c.yaml'),
          '--json',
          ...extra,
        ],
        backup.folder,
      )
    ).last.error?.code
  expect(await run('not a url')).toBe('CONFIG_INVALID')
  expect(await run('postgresql://postgres@127.0.0.1:1/x')).toBe('SOURCE_UNREACHABLE')
  expect(await run(backup.sourceUrl.replace(backup.database, 'no_such_database'))).toBe('SOURCE_UNSUITABLE')
  expect(await run(backup.sourceUrl)).toBe('CONSENT_NEEDED')
  await backup.source.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [
    `own_${backup.database}`,
  ])
  expect(await run(backup.sourceUrl, ['--yes', '--name', `own_${backup.database}`])).toBe('SOURCE_UNSUITABLE')
  expect(
    (
      await backup.source.query('SELECT 1 FROM pg_replication_slots WHERE slot_name = $1', [
        `own_${backup.database}`,
      ])
    ).rowCount,
  ).toBe(1)
  await backup.source.query(`CREATE ROLE weak_${backup.database} LOGIN`)
  const weak = new URL(backup.sourceUrl)
  weak.username = `weak_${backup.database}`
  expect(await run(weak.toString(), ['--yes'])).toMatch(/SOURCE_PRIVILEGE|SOURCE_UNSUITABLE/)
  await backup.source.query(`DROP ROLE weak_${backup.database}`)
  expect((await backup.source.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'tidemark'`)).rowCount).toBe(
    0,
  )
})

test('init that fails on its way names what it left behind, and the source is as it was', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const clean = async (): Promise<void> => {
    const { rows } = await backup.source.query(
      `SELECT nspname AS x FROM pg_namespace WHERE nspname LIKE 'tidemark%' UNION ALL SELECT evtname FROM pg_event_trigger UNION ALL SELECT pubname FROM pg_publication`,
    )
    expect(rows).toEqual([])
  }
  // Seen only when it is written.
  await symlink(join(backup.folder, 'nowhere', 'file'), backup.configPath)
  const failed = await backup.init().then(
    () => undefined,
    (error: unknown) => error as TidemarkError,
  )
  expect(failed).toMatchObject({
    code: 'CONFIG_INVALID',
    means: expect.stringMatching(/no backup yet.*left in the source/) as string,
  })
  await clean()
  await rm(backup.configPath)
  expect(failed!.next).toContain(backup.keys)
  expect(failed!.next).toContain(backup.storeUrl)
  await rm(backup.storeUrl, { recursive: true })
  // Keys that are there are refused before anything is made.
  await expect(backup.init()).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
  await clean()
  expect(await readdir(backup.storeUrl)).not.toContain('ledger')
  await rm(backup.keys, { recursive: true })
  await backup.init()
  // As one leaves it that was killed: the advice leads out.
  for (const left of [backup.keys, backup.storeUrl, backup.configPath]) await rm(left, { recursive: true })
  await expect(backup.init()).rejects.toMatchObject({
    code: 'SOURCE_UNSUITABLE',
    next: expect.stringContaining('tidemark uninstall --source URL --yes') as string,
  })
  const uninstalled = await tidemark(
    ['uninstall', '--source', backup.sourceUrl, '--yes', '--json'],
    backup.folder,
  )
  expect(uninstalled.last.ok, uninstalled.stdout).toBe(true)
  await backup.init()
})

test('settings that are unknown or out of range are all named', () => {
  const text =
    'version: 1\nsource: { url: x, slot: tidemark, publication: p, colour: red }\nstore: { url: s }\nroll: { age: 5 days }\nsped: 1\n'
  expect(() => parseConfig(text, '/tidemark.yaml')).toThrow(
    /source\.colour.*roll\.age.*sped|sped.*source\.colour/s,
  )
})
