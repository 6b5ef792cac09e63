/** One state of the source, and every command that asks it: each says the same code, and none a raw error of the server. */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { stringify, parse } from 'yaml'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'
import { dropSlot } from '../support/slot.ts'

const STATES: Readonly<Record<string, (backup: Backup) => Promise<unknown>>> = {
  INSTALLATION_MISSING: (backup) => backup.source.query('DROP SCHEMA tidemark CASCADE'),
  SLOT_MISSING: (backup) => dropSlot(backup),
  SOURCE_CHANGED: async (backup) => {
    const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
    const url = await backup.emptyDatabase()
    await writeFile(backup.configPath, stringify({ ...settings, source: { ...settings.source, url } }))
  },
}

/** Which of the command's lines has the code. */
const COMMANDS: readonly (readonly string[])[] = [
  ['mark', 'a'],
  ['backup', 'base'],
  ['verify', '--against-source'],
  ['doctor'],
]

test.each(Object.keys(STATES))('%s', { timeout: 300_000 }, async (state) => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.durable()
  await backup.stop()
  await STATES[state]!(backup)
  const said = await Promise.all(
    COMMANDS.map(async (words) => {
      const { code, last } = await tidemark([...words, '--json'], backup.folder)
      return { words, code, said: last.error?.code, stack: last.error?.stack }
    }),
  )
  expect(said).toEqual(COMMANDS.map((words) => ({ words, code: 3, said: state, stack: undefined })))
  const status = (await tidemark(['status', '--json'], backup.folder)).last as {
    sourceError?: { code: string }
    budget?: object | null
  }
  expect(status.sourceError?.code).toBe(state)
  const text = (await tidemark(['status'], backup.folder)).stdout
  if (state === 'INSTALLATION_MISSING') expect(text).not.toContain('none: without its slot')
  else expect([status.budget, text]).toEqual([null, expect.stringContaining('none: without its slot')])
})
