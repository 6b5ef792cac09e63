/** The trace of a command is left where it can be, and never keeps anybody from restoring. */
import { TESTER } from '../support/actor.ts'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { actorHere } from '../../services/cli/actor.ts'
import { systemClock } from '../../services/core/clock.ts'
import { audit, LOCAL_AUDIT } from '../../services/app/operations/audit.ts'

test('from a folder that this account cannot write, the trace goes to another one', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root may be somebody else')
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-audit-'))
  await chmod(folder, 0o755)
  const home = await mkdtemp(join(tmpdir(), 'tidemark-audit-home-'))
  await chmod(home, 0o777)
  process.seteuid!(54321)
  try {
    const where = await audit(
      { unasked: [], clock: { ...systemClock, now: () => 0 }, audit: () => Promise.resolve(false) },
      { ...TESTER, traces: [folder, home] },
      'find',
      'all tables',
    )
    expect(where).toBe(join(home, LOCAL_AUDIT))
    expect(JSON.parse(await readFile(where, 'utf8'))).toMatchObject({
      at: '1970-01-01T00:00:00.000Z',
      operator: TESTER.name,
      command: 'find',
      what: 'all tables',
    })
  } finally {
    process.seteuid!(0)
    await rm(folder, { recursive: true })
    await rm(home, { recursive: true })
  }
})

test('who runs a command: as the environment names them, whoever became root, or the account', () => {
  const name = (environment: Record<string, string>) => actorHere(environment).name
  expect(name({ TIDEMARK_OPERATOR: 'ann (on call)', SUDO_USER: 'ann' })).toBe('ann (on call)')
  expect(name({ SUDO_USER: 'ann' })).toBe('ann')
  expect(name({})).toBe(userInfo().username)
  expect(actorHere({}).traces).toEqual([process.cwd(), homedir(), tmpdir()])
})
