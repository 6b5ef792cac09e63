/** What errors say beside their code: where, who, and what helps. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { openSource } from '../../services/app/wiring/compose.ts'
import { readConfig } from '../../services/app/config/config.ts'
import { positionText } from '../../services/core/position.ts'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'
import { SERVER_SETTINGS } from '../support/servers.ts'

test('a password that nobody gave is told as such, and one from PGPASSFILE is used without a warning', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-login-'))
  const server = await EmbeddedPostgres.create({
    folder: join(folder, 'server'),
    settings: { ...SERVER_SETTINGS, password_encryption: 'scram-sha-256' },
  })
  await server.start()
  try {
    const admin = await connect({ url: server.url(), applicationName: 'test', role: 'source' })
    await admin.query(`CREATE ROLE app LOGIN SUPERUSER PASSWORD 'hunter2'`)
    await writeFile(
      join(server.data, 'pg_hba.conf'),
      `host all app 127.0.0.1/32 scram-sha-256\nhost replication app 127.0.0.1/32 scram-sha-256\nhost all,replication all 127.0.0.1/32 trust\n`,
    )
    await admin.query('SELECT pg_reload_conf()')
    await admin.end()
    const url = new URL(server.url())
    url.username = 'app'
    await expect(
      connect({ url: url.toString(), applicationName: 'test', role: 'source' }),
    ).rejects.toMatchObject({
      code: 'SOURCE_LOGIN_REFUSED',
      message: expect.stringMatching(/asks for a password of app, and there is none/) as string,
      next: expect.stringContaining('.pgpass') as string,
    })
    const passFile = join(folder, 'pass')
    await writeFile(passFile, `127.0.0.1:${url.port}:*:app:hunter2\n`, { mode: 0o600 })
    const args = [
      'init',
      '--source',
      url.toString(),
      '--store',
      join(folder, 'store'),
      '--name',
      'n',
      '--yes',
    ]
    const answer = await tidemark([...args, '--json'], folder, { PGPASSFILE: passFile })
    expect([answer.code, answer.stderr]).toEqual([0, ''])
    await writeFile(passFile, `127.0.0.1:${url.port}:*:app:wrong\n`, { mode: 0o600 })
    const refused = await tidemark(['status', '--json'], folder, { PGPASSFILE: passFile })
    expect(refused.stdout).toMatch(/SOURCE_LOGIN_REFUSED.*password authentication failed/)
    expect(refused.stdout + refused.stderr).not.toMatch(/hunter2|wrong|Warning/)
  } finally {
    await server.destroy()
    await rm(folder, { recursive: true, force: true })
  }
})

test('a server that is not there is named, without user and password', async () => {
  const url = 'postgresql://someone:hunter2@127.0.0.1:1/chat'
  const trying = connect({ url, applicationName: 'test', role: 'source' })
  await expect(trying).rejects.toMatchObject({
    code: 'SOURCE_UNREACHABLE',
    message: '127.0.0.1:1/chat: no connection: ECONNREFUSED',
  })
})

test('settings that are there and cannot be read are not called missing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-settings-'))
  try {
    const path = join(folder, 'tidemark.yaml')
    expect(() => readConfig(path)).toThrow(expect.objectContaining({ code: 'CONFIG_MISSING' }))
    // Root may read every file, and no account a folder.
    await mkdir(path)
    expect(() => readConfig(path)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('who has the slot is named, and keys that no row can have are refused', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)',
  })
  const source = openSource(backup.config, backup.repository.catalog.generation!)
  const taken = await source.taken()
  await source.close()
  const { rows } = await backup.source.query<{ pid: number }>(
    'SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1',
    [backup.slot],
  )
  expect(taken?.message).toMatch(
    new RegExp(
      `${backup.slot}: process ${rows[0]!.pid} of the server \\(tidemark_backup, from .*, since .*Z\\)`,
    ),
  )
  expect(taken?.next).toContain(`pg_terminate_backend(${rows[0]!.pid})`)
  await backup.source.query('INSERT INTO t VALUES (1)')
  await backup.durable()
  const from = positionText(backup.repository.catalog.generation!.bases[0]!.closing)
  const ends = ['--from', from, '--to', 'latest']
  const read = (...args: string[]) => tidemark(['read', ...args, '--json'], backup.folder)
  for (const [args, said] of [
    [['--table', 'public.t', ...ends, '--key', 'one'], 'not a whole number'],
    [['--table', 'public.t', ...ends, '--key', '1', '2'], 'it has 2 values'],
    [['--table', 'public.tt', ...ends], 'there are public.other, public.t'],
  ] as const) {
    const { code, last } = await read(...args)
    expect([code, last.error?.code, last.error?.message]).toEqual([2, 'USAGE', expect.stringContaining(said)])
  }
})
