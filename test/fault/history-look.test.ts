/** The look at what a slot sends once more: a source that goes on as it should is not accused, its slot stays where it is, and up goes on. */
import { expect, test } from 'vitest'
import { askedSource } from '../../services/app/operations/examine-source.ts'
import { readStatus } from '../../services/app/operations/status.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'

test.each(oneVersion())(
  'PostgreSQL %s: a slot that stands behind the ledger, at rest and with more',
  async (version) => {
    let isDying = false
    await using backup = await Backup.start({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)',
      // In the ledger, and never acknowledged.
      onPoint: (point) => {
        if (isDying && point === 'after-entry') throw new Error('dies here')
      },
    })
    isDying = true
    await backup.source.query('INSERT INTO t VALUES (1)')
    await expect(backup.running).rejects.toThrow('CutStore.store')
    await backup.crash()
    isDying = false
    const confirmed = async (): Promise<unknown> =>
      (
        await backup.source.query<{ at: string }>(
          'SELECT confirmed_flush_lsn::text AS at FROM pg_replication_slots WHERE slot_name = $1',
          [backup.slot],
        )
      ).rows[0]!.at
    const before = await confirmed()
    for (const more of [false, true]) {
      if (more) await backup.source.query('INSERT INTO t SELECT generate_series(10, 2000)')
      const from = performance.now()
      const status = await readStatus(await backup.openRepository(), askedSource(backup.config))
      expect(status.sourceError).toBeNull()
      // It ended because it was proven, not because its time was over.
      expect(performance.now() - from).toBeLessThan(LIMITS.historyLook.limitMs)
      expect(await confirmed()).toBe(before)
    }
    await backup.up()
    await backup.durable()
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  },
)
