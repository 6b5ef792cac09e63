/** Rows that belong to extensions: configuration comes back beside what the extension makes, and no job runs by itself. */
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Backup, oneVersion, serverUrl } from '../support/backup.ts'

const SCRIPT = `
CREATE TABLE settings (name text PRIMARY KEY, value text, standard boolean NOT NULL DEFAULT false);
INSERT INTO settings VALUES ('built in', 'of the extension', true);
SELECT pg_catalog.pg_extension_config_dump('settings', 'WHERE NOT standard');
CREATE TABLE rules (id int GENERATED ALWAYS AS IDENTITY, rule text);
SELECT pg_catalog.pg_extension_config_dump('rules', '');
CREATE TABLE scratch (v int);
INSERT INTO scratch VALUES (1);`

/** Stands for the scheduler: what counts is its name and that of its table. */
const CRON = `
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid int PRIMARY KEY, schedule text, command text, active boolean NOT NULL DEFAULT true);
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');`

const ALL = 'SELECT name, value, standard FROM settings ORDER BY 1'

async function rowsOf(url: string, sql: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return (await client.query({ text: sql, rowMode: 'array' }).finally(() => client.end())).rows
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  const own = `tidemark_own_${process.pid}`
  const files: string[] = []

  beforeAll(async () => {
    const [[share]] = (await rowsOf(
      serverUrl(version),
      `SELECT setting FROM pg_config WHERE name = 'SHAREDIR'`,
    )) as [[string]]
    for (const [name, script] of [
      [own, SCRIPT],
      ['pg_cron', CRON],
    ] as const) {
      const control = join(share, 'extension', `${name}.control`)
      const sql = join(share, 'extension', `${name}--1.0.sql`)
      await writeFile(control, `default_version = '1.0'\nrelocatable = false\n`)
      await writeFile(sql, script)
      files.push(control, sql)
    }
  })

  afterAll(async () => {
    for (const file of files) await rm(file, { force: true })
  })

  test('rows of configuration tables come back, from the base and from the stream', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE EXTENSION ${own}; INSERT INTO settings VALUES ('before', 'the base', false); INSERT INTO rules (rule) VALUES ('one')`,
    })
    await backup.source.query(
      `INSERT INTO settings VALUES ('after', 'the base', false); UPDATE settings SET value = 'changed' WHERE name = 'before'; INSERT INTO rules (rule) VALUES ('two'); INSERT INTO scratch VALUES (2)`,
    )
    await backup.durable()
    const restored = await backup.restore()
    expect(await rowsOf(restored.url, ALL)).toEqual(await rowsOf(backup.sourceUrl, ALL))
    expect(await rowsOf(restored.url, 'SELECT * FROM rules')).toEqual([
      [1, 'one'],
      [2, 'two'],
    ])
    // No configuration: as the extension makes it, and said.
    expect(await rowsOf(restored.url, 'SELECT * FROM scratch')).toEqual([[1]])
    expect(restored.result?.notes.join('\n')).toMatch(/"scratch".*not covered/)
  })

  test('an extension that is created while the stream runs', async () => {
    await using backup = await Backup.start({ version })
    await backup.source.query(`CREATE EXTENSION ${own}`)
    await backup.source.query(
      `INSERT INTO settings VALUES ('mine', 'streamed', false); INSERT INTO rules (rule) VALUES ('one')`,
    )
    await backup.durable()
    // The extension itself is in the next reading of the schema.
    await backup.until(() => backup.repository.catalog.generation!.schemas.length > 1)
    await backup.durable()
    const restored = await backup.restore()
    expect(await rowsOf(restored.url, ALL)).toEqual(await rowsOf(backup.sourceUrl, ALL))
    expect(await rowsOf(restored.url, 'SELECT rule FROM rules')).toEqual([['one']])
  })

  test('where the extension is not to be had, everything else comes back, and its rows are listed', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE plain (id int PRIMARY KEY); INSERT INTO plain VALUES (1); CREATE EXTENSION ${own}; INSERT INTO settings VALUES ('mine', 'a', false)`,
    })
    await backup.durable()
    const [control] = files
    await rename(control!, `${control!}.away`)
    const restored = await backup.restore().finally(() => rename(`${control!}.away`, control!))
    files.push(restored.unmadeFile!)
    expect(await rowsOf(restored.url, 'SELECT id FROM plain')).toEqual([[1]])
    expect(restored.result?.unmade.map((u) => u.object)).toEqual(
      expect.arrayContaining([`extension ${own}`, 'table public.settings', 'table public.rules']),
    )
  })

  test('scheduled jobs are inactive in a restored database, unless they are asked for', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE EXTENSION pg_cron; INSERT INTO cron.job VALUES (1, '* * * * *', 'DELETE FROM everything')`,
    })
    await backup.durable()
    const quiet = await backup.restore()
    expect(await rowsOf(quiet.url, 'SELECT jobid, command, active FROM cron.job')).toEqual([
      [1, 'DELETE FROM everything', false],
    ])
    expect(quiet.result?.notes.join('\n')).toMatch(/"cron"\."job".*inactive/)
    const busy = await backup.restore('latest', { withJobs: true })
    expect(await rowsOf(busy.url, 'SELECT active FROM cron.job')).toEqual([[true]])
  })
})
