/** `verify` with several stores: it says which it looked at, and looks at each by itself where that is wanted. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Backup } from '../support/backup.ts'
import { type Answer, tidemark } from '../support/cli.ts'
import { testedVersions } from '../support/backup.ts'

interface Verified {
  readonly place: string
  readonly failed: { readonly code: string } | null
  readonly report: { readonly damaged: readonly { readonly object: string }[] } | null
}

/** Flips a bit of the only file under a folder that holds the table's rows. */
async function damage(store: string): Promise<string> {
  const names = await readdir(join(store, 'base'), { recursive: true })
  const name = join('base', names.find((one) => one.endsWith('.table'))!)
  const bytes = await readFile(join(store, name))
  bytes[bytes.length >> 1]! ^= 1
  await rm(join(store, name))
  await writeFile(join(store, name), bytes)
  return name
}

test('each store of a backup is verified by itself', async () => {
  await using backup = await Backup.start({
    version: testedVersions()[0]!,
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)',
  })
  await backup.durable()
  await backup.stop()
  const { folder: cwd, configPath, storeUrl } = backup
  const run = (...args: string[]): Promise<Answer> => tidemark([...args, '--config', configPath], cwd)
  const copies = [join(cwd, 'near'), join(cwd, 'far')]
  for (const to of copies) expect((await run('copy', '--json', '--to', to)).last.ok).toBe(true)
  const yaml = await readFile(configPath, 'utf8')
  const lines = copies.map((url) => `  - {url: '${url}', role: archive, mode: mirrored}`)
  await writeFile(configPath, `${yaml}\ncopies:\n${lines.join('\n')}\n`)

  // All is well; what is said names every store.
  const plain = await run('verify')
  expect(plain.code, plain.stderr).toBe(0)
  expect(plain.stdout).toContain(`looked at ${storeUrl}\n`)
  for (const url of copies)
    expect(plain.stdout).toContain(`NOT looked at ${url}: tidemark verify --all-stores`)
  const all = await run('verify', '--all-stores')
  expect(all.code, all.stderr).toBe(0)
  for (const url of [storeUrl, ...copies])
    expect(all.stdout).toMatch(new RegExp(`looked at ${url}: .* intact and can be opened`))

  // One copy is damaged: the default does not see it, and says that it did not look.
  const name = await damage(copies[0]!)
  expect((await run('verify')).code).toBe(0)
  for (const how of [[], ['--chain']]) {
    const found = await run('verify', '--json', '--all-stores', ...how)
    expect([found.code, found.last.error?.code], found.stdout).toEqual([6, 'OBJECT_CORRUPT'])
    expect(found.last.error?.message).toContain(`in ${copies[0]!}`)
    expect(found.last.error?.next).toContain('tidemark scrub')
    const event = JSON.parse(found.stdout.trim().split('\n').at(-2)!) as { stores: Verified[] }
    expect(event.stores.map(({ report }) => report?.damaged.map(({ object }) => object))).toEqual([
      [],
      [name],
      [],
    ])
  }
  // Nothing is lost for a restore: no point is in doubt.
  const windows = await run('windows')
  expect(windows.stdout).not.toMatch(/damaged in every store/i)
  expect((await run('scrub')).code).toBe(0)
  expect((await run('verify', '--all-stores')).code).toBe(0)

  // A copy that is not there does not hide what the others have.
  await rename(copies[1]!, `${copies[1]!}.away`)
  const away = await run('verify', '--json', '--all-stores')
  expect(away.code, away.stdout).toBe(4)
  expect(away.last.error?.message).toContain(copies[1]!)
  await mkdir(copies[1]!)
  const empty = await run('verify', '--json', '--all-stores')
  expect(empty.code, empty.stdout).toBe(4)

  // Damaged everywhere.
  await rm(copies[1]!, { recursive: true })
  await rename(`${copies[1]!}.away`, copies[1]!)
  for (const url of [storeUrl, ...copies]) await damage(url)
  const lost = await run('verify', '--json', '--all-stores')
  expect(lost.code).toBe(6)
  expect(lost.last.error?.message).toContain('right in no store')
  expect(lost.last.error?.next).not.toContain('scrub')
})
