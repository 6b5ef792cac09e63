/** The source as an earlier version of Tidemark left it. */
import { readFileSync } from 'node:fs'
import type { Backup } from './backup.ts'

const SCRIPTS = {
  1: readFileSync(new URL('../golden/installation-1.sql', import.meta.url), 'utf8'),
  3: readFileSync(new URL('../golden/installation-3.sql', import.meta.url), 'utf8'),
} as const

/** Puts an older version in the place of what `init` has installed; the slot and the ledger stay. */
export async function installVersion(backup: Backup, version: keyof typeof SCRIPTS): Promise<void> {
  const { source, slot } = backup
  const stream = (await source.query<{ stream: string }>('SELECT stream FROM tidemark.installation')).rows[0]!
    .stream
  await source.query(
    `DROP EVENT TRIGGER tidemark_ddl; DROP EVENT TRIGGER tidemark_drop; DROP EVENT TRIGGER tidemark_rewrite; DROP SCHEMA tidemark CASCADE; DROP PUBLICATION ${slot}`,
  )
  await source.query(SCRIPTS[version].replaceAll('{{publication}}', slot).replaceAll('{{stream}}', stream))
}
