/** Health is answered from what the process knows: a source that says nothing holds nobody up, and nobody asks it per request. */
import { afterEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { readFile, writeFile } from 'node:fs/promises'
import { LIMITS } from '../../services/core/limits.ts'
import { Backup, testedVersions } from '../support/backup.ts'
import { Running } from '../support/cli.ts'
import { Line } from '../support/silent-line.ts'

/** Less than a silent source is given before anybody asks; the answers take milliseconds. */
const PROMPT_MS = LIMITS.silence.silenceMs - 1_000

afterEach(() => Running.killAll())

async function ask(address: string, path: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${address}${path}`, { signal: AbortSignal.timeout(PROMPT_MS) })
  return { status: answer.status, text: await answer.text() }
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('a frozen source: ready and metrics answer at once, and open no connection', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    })
    await backup.init()
    const line = new Line(new URL(backup.sourceUrl))
    const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
    await writeFile(
      backup.configPath,
      stringify({ ...settings, source: { ...settings.source, url: await line.open(backup.sourceUrl) } }),
    )
    const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
    try {
      await up.said('"streaming"')
      const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
        address: string
      }
      const figures = /tidemark_lag_bytes \d+[^]*tidemark_wal_budget_seconds (\d+|\+Inf)/
      await backup.until(async () => figures.test((await ask(address, '/metrics')).text))
      line.newAreSilent = true
      line.isSilent = true
      const before = line.made
      for (let i = 0; i < 3; i++) {
        expect(await ask(address, '/readyz')).toEqual({
          status: 200,
          text: JSON.stringify({ ok: true, streaming: true }),
        })
        expect((await ask(address, '/metrics')).text).toContain('tidemark_streaming 1')
      }
      expect(line.made).toBe(before)
    } finally {
      up.child.kill('SIGKILL')
      await up.finished
      line.close()
    }
  })
})
