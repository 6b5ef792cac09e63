/** A copy is promoted while `up` goes on with the store that it was filled from: one of the two is the backup, and the other's writer ends. */
import { TESTER } from '../support/actor.ts'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { copyBackup, promote } from '../../services/app/operations/copy-backup.ts'
import { openBackup, openStore, placeOf } from '../../services/app/wiring/open-backup.ts'
import { endOf } from '../../services/repository/lineages.ts'
import { Backup } from '../support/backup.ts'

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
  await backup.source.query('INSERT INTO t VALUES (1)')
  expect(await ended).toMatchObject({ code: 'STORE_SUPERSEDED' })
  // Nothing of the old one came into the new one.
  const opened = await openBackup({ storeUrl: url, keys: backup.keys, role: 'writer' })
  expect(opened.repository.ledger.lineages.current).toBe(2)
  expect(
    await store.size(`ledger/1/${(BigInt(head) + 1n).toString().padStart(16, '0')}.json`),
  ).toBeUndefined()
})
