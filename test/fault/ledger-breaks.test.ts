/** A ledger that is broken in the middle: what lies before the break can be restored, and nothing behind it is taken for anything. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, md5(g::text) FROM generate_series(1, 100) g`

test.each(oneVersion())('two entries with one number: points before them come back (%s)', async (version) => {
  await using backup = await Backup.start({ version, setup: SETUP, anchors: true })
  await backup.source.query(`UPDATE m SET body = 'before' WHERE id < 20`)
  await backup.durable()
  const before = shown(await digests(backup.sourceUrl))
  const at = (await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn'))
    .rows[0]!.lsn
  await backup.source.query('DELETE FROM m WHERE id = 100')
  await backup.durable()
  await backup.stop()

  // As a store leaves it in which two writers both won: the second one's entry lies over the first one's.
  const [first, second] = [await backup.openRepository(), await backup.openRepository()]
  const number = first.ledger.headNumber + 1n
  const file = join(backup.storeUrl, first.ledger.lineages.nameOf(number))
  await second.audit('second', 'two writers', 'x')
  const theirs = await readFile(file)
  await rm(file)
  await first.audit('first', 'two writers', 'x')
  await first.audit('first', 'two writers, behind it', 'x')
  await writeFile(file, theirs)

  await expect(backup.openRepository()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
  await expect(backup.up()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
  const strict = openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })
  await expect(strict).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })

  const report = await backup.restore(at)
  expect(shown(await digests(report.url))).toEqual(before)
  expect(report.stores.join('\n')).toMatch(/LEDGER_BROKEN: ledger entry \d+.*NOTHING BEHIND IT IS TRUSTED/)
  expect(report.anchors).toEqual([expect.stringMatching(/ledger is broken/)])
  expect(report.audit).not.toBe('ledger')
  // Nobody gets an older state than he asked for.
  const refusal = {
    code: 'LEDGER_BROKEN',
    exitCode: 6,
    next: expect.stringMatching(/--at [0-9A-F/]+@1/) as string,
  }
  await expect(backup.restore('latest')).rejects.toMatchObject(refusal)
  await expect(backup.restore(new Date(Date.now() + 60_000).toISOString())).rejects.toMatchObject(refusal)
  await expect(backup.restore('marker:later')).rejects.toMatchObject(refusal)

  const args = ['--store', backup.storeUrl, '--keys', backup.keys]
  const windows = await tidemark(['windows', ...args], backup.folder)
  expect([windows.code, windows.stdout]).toEqual([
    0,
    expect.stringMatching(/^WARNING: LEDGER_BROKEN/) as string,
  ])
  const verified = await tidemark(['verify', ...args, '--json'], backup.folder)
  expect(verified.last.error?.code).toBe('LEDGER_BROKEN')
  expect(verified.last.error?.next).toMatch(/^tidemark windows/)
})
