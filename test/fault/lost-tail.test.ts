/** The newest entries of the ledger are gone, and an anchor or a copy knows: whoever only reads puts nothing in their place. */
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

let backup: Backup
let whole: string

beforeAll(async () => {
  backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    anchors: true,
  })
  await backup.source.query('INSERT INTO t VALUES (2)')
  await backup.durable()
  await backup.stop()
  whole = join(backup.folder, 'whole')
  await cp(backup.storeUrl, whole, { recursive: true })
  const copied = await tidemark(['copy', '--to', join(backup.folder, 'copy'), '--json'], backup.folder)
  expect(copied.last).toMatchObject({ ok: true })
}, 120_000)
afterAll(() => backup[Symbol.asyncDispose]())

async function entries(store: string): Promise<string[]> {
  const names = await readdir(join(store, 'ledger'), { recursive: true })
  return names.filter((name) => name.endsWith('.json')).sort()
}

/** The settings with what knows more, and the store without its newest entry. */
async function lost(settings: object): Promise<string[]> {
  const read = parse(await readFile(backup.configPath, 'utf8')) as object
  await writeFile(
    backup.configPath,
    stringify({ ...read, anchors: undefined, copies: undefined, ...settings }),
  )
  await rm(backup.storeUrl, { recursive: true })
  await cp(whole, backup.storeUrl, { recursive: true })
  const newest = (await entries(backup.storeUrl)).at(-1)!
  await rm(join(backup.storeUrl, 'ledger', newest))
  return entries(backup.storeUrl)
}

const anchor = (): string => join(backup.folder, 'anchor')
const copy = (): string => join(backup.folder, 'copy')
const anchored = (): object => ({ anchors: [anchor()] })
const copied = (): object => ({ copies: [{ url: copy(), mode: 'mirrored' }] })

/** Nobody can tell then whether something is lost. */
async function withAway(settings: object, place: string, command: readonly string[]): Promise<void> {
  const left = await lost(settings)
  await rename(place, `${place}.away`)
  await writeFile(place, '')
  const answer = await tidemark([...command, '--json'], backup.folder)
  await rm(place)
  await rename(`${place}.away`, place)
  expect({ code: answer.code, left: await entries(backup.storeUrl) }).toEqual({ code: 0, left })
  expect(String(answer.last['audit'])).toContain('tidemark-audit.log')
}

test('an anchor or a copy that knows', async () => {
  const rolledBack = await lost(anchored())
  const refused = await tidemark(['verify', '--json'], backup.folder)
  expect(refused.last.error?.code).toBe('STORE_ROLLED_BACK')
  expect(await entries(backup.storeUrl)).toEqual(rolledBack)
  const behind = await lost(copied())
  expect((await tidemark(['verify', '--json'], backup.folder)).code).toBe(0)
  expect(await entries(backup.storeUrl)).toEqual(behind)
})

test.each([['verify'], ['verify --chain'], ['find'], ['restore --dry-run --at latest']])(
  '%s, and an anchor that is away',
  (command) => withAway(anchored(), anchor(), command.split(' ')),
)

test.each([['verify'], ['verify --chain']])('%s, and a copy that is away', (command) =>
  withAway(copied(), copy(), command.split(' ')),
)
