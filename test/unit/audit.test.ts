/** The trace of a command is left where it can be, and never keeps anybody from restoring. */
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { audit, LOCAL_AUDIT } from '../../services/app/operations/audit.ts'

test('from a folder that this account cannot write, the trace goes to another one', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root may be somebody else')
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-audit-'))
  await chmod(folder, 0o755)
  const home = await mkdtemp(join(tmpdir(), 'tidemark-audit-home-'))
  const before = { cwd: process.cwd(), home: process.env['HOME'] }
  await chmod(home, 0o777)
  process.chdir(folder)
  process.env['HOME'] = home
  process.seteuid!(54321)
  try {
    const where = await audit({ unasked: [], audit: () => Promise.resolve(false) }, 'find', 'all tables')
    expect(where).toBe(join(home, LOCAL_AUDIT))
    expect(JSON.parse(await readFile(where, 'utf8'))).toMatchObject({ command: 'find', what: 'all tables' })
  } finally {
    process.seteuid!(0)
    process.chdir(before.cwd)
    process.env['HOME'] = before.home
    await rm(folder, { recursive: true })
    await rm(home, { recursive: true })
  }
})
