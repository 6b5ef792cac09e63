/** `init` once more: what is asked for is added, and nothing else changes. */
import { appendFile, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readConfig } from '../../services/app/config/config.ts'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

test('a role and an anchor are added to a backup, with consent, and what is there already stays', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const role = `r_${backup.slot}`
  await backup.source.query(`CREATE ROLE ${role} LOGIN`)
  try {
    const anchor = join(backup.folder, 'anchor')
    await mkdir(anchor)
    await appendFile(backup.configPath, '# a word of its owner\n')
    const run = (...args: string[]) =>
      tidemark(['init', '--json', '--config', backup.configPath, ...args], backup.folder)
    expect((await run('--grant-to', role)).last.error?.code).toBe('CONSENT_NEEDED')
    expect((await run('--anchor', anchor)).last).toMatchObject({ ok: true, anchors: [anchor], granted: null })
    expect((await readdir(join(anchor))).length).toBeGreaterThan(0)
    expect(readConfig(backup.configPath).anchors).toEqual([anchor])
    expect(await readFile(backup.configPath, 'utf8')).toContain('# a word of its owner')
    expect((await run('--anchor', anchor, '--grant-to', role, '--yes')).last).toMatchObject({
      ok: true,
      anchors: [],
      granted: role,
      audit: 'ledger',
    })
    const { rows } = await backup.source.query<{ rolreplication: boolean }>(
      'SELECT rolreplication FROM pg_roles WHERE rolname = $1',
      [role],
    )
    expect(rows).toEqual([{ rolreplication: true }])
    expect((await run('--anchor', anchor, '--store', join(backup.folder, 'other'))).last.error?.code).toBe(
      'CONFIG_INVALID',
    )
    expect((await run('--anchor', join(backup.configPath, 'no-folder'))).last.ok).toBe(false)
    expect(readConfig(backup.configPath).anchors).toEqual([anchor])
  } finally {
    await backup.source.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})
