/** A copy is promoted while `up` goes on with the store that it was filled from: one of the two is the backup, and the other's writer ends. */
import { TESTER } from '../support/actor.ts'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { copyBackup, promote } from '../../services/app/operations/copy-backup.ts'
import { openBackup, openStore, placeOf } from '../../services/app/wiring/open-backup.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'

test.each(['mirrored', 'synchronous'])('a %s copy', async (mode) => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const url = join(backup.folder, 'copy')
  await copyBackup({
    actor: TESTER,
    from: placeOf(backup.config),
    to: url,
    bandwidth: undefined,
    signal: new AbortController().signal,
  })
  const settings = parse(await readFile(backup.configPath, 'utf8')) as object
  await writeFile(backup.configPath, stringify({ ...settings, copies: [{ url, mode }] }))
  await backup.up()
  const store = await openStore(url)
  await backup.until(async () => (await endOf(store, 0n)).number >= backup.repository.ledger.headNumber)
  const ended = backup.running.then(
    () => 'it ended without a word',
    (error: unknown) => error,
  )
  const { head } = await promote({ storeUrl: url, keys: backup.keys }, TESTER)
  // Entries up to here may have been acknowledged, whether the copy had them or not.
  const before = backup.repository.catalog.generation!.end
  await backup.source.query('INSERT INTO t VALUES (1)')
  expect(await ended).toMatchObject({ code: 'STORE_SUPERSEDED' })
  const slot = await backup.source.query<{ at: string }>(
    'SELECT confirmed_flush_lsn::text AS at FROM pg_replication_slots WHERE slot_name = $1',
    [backup.slot],
  )
  const confirmed = parsePosition(slot.rows[0]!.at)
  expect(comparePositions(confirmed, before)).toBeLessThanOrEqual(0)
  // Nothing of the old one came into the new one.
  const opened = await openBackup({ storeUrl: url, keys: backup.keys, role: 'writer' })
  expect(opened.repository.ledger.lineages.current).toBe(2)
  expect(
    await store.size(`ledger/1/${(BigInt(head) + 1n).toString().padStart(16, '0')}.json`),
  ).toBeUndefined()
  // Unless the copy had not been filled up to the promotion, everything goes on there without a gap.
  if (comparePositions(opened.repository.catalog.generation!.end, confirmed) < 0) return
  await writeFile(
    backup.configPath,
    stringify({ ...settings, store: { url }, copies: [{ url: backup.storeUrl, mode: 'mirrored' }] }),
  )
  await backup.up()
  await backup.durable()
  expect(backup.repository.catalog.generations).toHaveLength(1)
  const restored = await backup.restore('latest', { storeUrl: url })
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test("what the old writer put into the copy while that was promoted is nobody's", async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  await backup.up()
  await backup.durable()
  const url = join(backup.folder, 'copy')
  await copyBackup({
    actor: TESTER,
    from: placeOf(backup.config),
    to: url,
    bandwidth: undefined,
    signal: new AbortController().signal,
  })
  const { head } = await promote({ storeUrl: url, keys: backup.keys }, TESTER)
  await backup.source.query('INSERT INTO t VALUES (1)')
  await backup.durable()
  await backup.stop()
  // The old writer had looked before the promotion, and put its entries behind it; the newest is a checkpoint.
  const old = (await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })).repository
  await old.checkpoint(0)
  const [from, to] = [await openStore(backup.storeUrl), await openStore(url)]
  const known = new Set<string>()
  for await (const name of to.list('')) known.add(name)
  const strays: string[] = []
  for await (const name of from.list(''))
    if (!known.has(name) && /^(ledger|checkpoints|index)\//.test(name)) strays.push(name)
  expect(strays.filter((name) => name.startsWith('ledger/1/')).length).toBeGreaterThan(1)
  for (const name of strays) await to.putIfAbsent(name, [await from.get(name)])
  // As before the promotion had left its own.
  for (const name of known) if (/^(checkpoints|proofs)\/2\//.test(name)) await to.remove(name)
  for (const role of ['writer', 'restore'] as const) {
    const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role })
    expect(repository.ledger.lineages.current).toBe(2)
    expect(repository.ledger.lineages.at(BigInt(head) + 1n)).toBe(2)
    expect(repository.ledger.headNumber).toBeGreaterThan(BigInt(head) + 1n)
  }
  const verified = await openBackup({
    storeUrl: url,
    keys: backup.keys,
    role: 'restore',
    trusting: 'keepers',
  })
  expect(verified.repository.ledger.lineages.current).toBe(2)
})
