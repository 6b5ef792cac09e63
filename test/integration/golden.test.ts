/** Backups of every format version that there ever was, kept for ever, restored by this one. */
import { TESTER } from '../support/actor.ts'
import { mkdtempSync, cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { restore } from '../../services/app/operations/restore.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { Backup, digests } from '../support/backup.ts'

const GOLDEN = new URL('../golden/', import.meta.url).pathname

describe.each(readdirSync(GOLDEN).filter((name) => name.startsWith('format-')))('%s', (format) => {
  test('verifies, and restores to every point that was noted then', async () => {
    await using backup = await Backup.prepare()
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-golden-'))
    try {
      // A copy: a restore leaves an audit entry.
      cpSync(join(GOLDEN, format), folder, { recursive: true })
      const place = { storeUrl: join(folder, 'store'), keys: join(folder, 'keys') }
      const { repository } = await openBackup({ ...place, role: 'restore' })
      const verified = await verifyStore(repository, true, () => undefined, new AbortController().signal)
      expect(verified.damaged).toEqual([])
      const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as {
        at: string
        tables: Record<string, string>
      }[]
      for (const { at, tables } of expected) {
        const into = await backup.emptyDatabase()
        await restore({
          actor: TESTER,
          ...place,
          at,
          into,
          exceptTables: [],
          dryRun: false,
          signal: new AbortController().signal,
          events: {},
        })
        expect(
          Object.fromEntries(
            (await digests(into)).map((d) => [`${d.schema}.${d.name}`, `${d.rows} ${d.digest}`]),
          ),
        ).toEqual(tables)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
