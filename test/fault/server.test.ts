/** Servers that are set up in other ways than the shared ones: no logical WAL, a slot that the server gives up. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { positionOf, positionText } from '../../services/core/position.ts'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running, tidemark } from '../support/cli.ts'
import { SERVER_SETTINGS } from '../support/servers.ts'

async function withServer(
  settings: Readonly<Record<string, string>>,
  use: (server: EmbeddedPostgres) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-server-'))
  const server = await EmbeddedPostgres.create({ folder, settings: { ...SERVER_SETTINGS, ...settings } })
  try {
    await server.start()
    await use(server)
  } finally {
    await server.destroy()
    await rm(folder, { recursive: true, force: true })
  }
}

test('wal_level = replica is refused before anything is changed', async () => {
  await withServer({ wal_level: 'replica' }, async (server) => {
    await using backup = await Backup.prepare({
      url: server.url(),
      setup: 'CREATE TABLE t (id int PRIMARY KEY)',
    })
    await expect(backup.init()).rejects.toMatchObject({ code: 'SOURCE_WAL_LEVEL' })
    expect(
      (await backup.source.query("SELECT 1 FROM pg_namespace WHERE nspname = 'tidemark'")).rowCount,
    ).toBe(0)
  })
})

test('a wrong password is refused with its own code, and stands in no output', async () => {
  await withServer({}, async (server) => {
    await using backup = await Backup.prepare({ url: server.url() })
    await backup.source.query(`ALTER ROLE postgres PASSWORD 'the-right-one'`)
    await writeFile(
      join(server.data, 'pg_hba.conf'),
      'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n',
    )
    await backup.source.query('SELECT pg_reload_conf()')
    const init = (password: string) => {
      const url = new URL(backup.sourceUrl)
      url.password = password
      return tidemark(
        [
          'init',
          '--source',
          url.toString(),
          '--store',
          join(backup.folder, 'st'),
          '--keys',
          join(backup.folder, 'ke'),
          '--config',
          join(backup.folder, 'c.yaml'),
          '--json',
        ],
        backup.folder,
      )
    }
    const wrong = await init('a-secret-guess')
    expect(wrong.last.error?.code).toBe('SOURCE_LOGIN_REFUSED')
    expect(wrong.stdout + wrong.stderr).not.toContain('a-secret-guess')
    const none = await init('')
    expect(none.last.ok).toBe(false)
    const right = await init('the-right-one')
    expect(right.last.ok, right.stdout).toBe(true)
    expect(right.stdout + right.stderr).not.toContain('the-right-one')
    const up = new Running(['up', '--json', '--config', join(backup.folder, 'c.yaml')], {
      cwd: backup.folder,
    })
    await up.said('"streaming"')
    up.child.kill('SIGTERM')
    const ended = await up.finished
    expect(ended.last.ok).toBe(true)
    expect(ended.stdout + ended.stderr).not.toContain('the-right-one')
    await writeFile(
      join(server.data, 'pg_hba.conf'),
      'local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n',
    )
    await server.stop()
    await server.start()
  })
})

test('a backup that would be a synchronous standby is refused: commits would wait for it', async () => {
  await withServer({ synchronous_standby_names: '*', synchronous_commit: 'local' }, async (server) => {
    await using backup = await Backup.prepare({
      url: server.url(),
      setup: 'CREATE TABLE t (id int PRIMARY KEY)',
    })
    await expect(backup.init()).rejects.toMatchObject({ code: 'SOURCE_UNSUITABLE' })
  })
})

test('a slot that the server gave up (max_slot_wal_keep_size) is a gap, a new generation and a new base', async () => {
  await withServer(
    { max_slot_wal_keep_size: '16MB', min_wal_size: '32MB', max_wal_size: '48MB' },
    async (server) => {
      await using backup = await Backup.prepare({
        url: server.url(),
        setup: 'CREATE TABLE m (id int PRIMARY KEY, body text); INSERT INTO m VALUES (1, $$one$$)',
      })
      await backup.init()
      await backup.up()
      await backup.durable()
      await backup.stop()
      for (let i = 0; i < 8; i++)
        await backup.source.query(
          `INSERT INTO m SELECT ${i + 1} * 100000 + g, repeat(md5(g::text), 30) FROM generate_series(1, 15000) g; SELECT pg_switch_wal(); CHECKPOINT`,
        )
      expect(
        (
          await backup.source.query<{ s: string }>(
            'SELECT wal_status AS s FROM pg_replication_slots WHERE slot_name = $1',
            [backup.slot],
          )
        ).rows[0]?.s,
      ).toBe('lost')
      await backup.up()
      await backup.source.query("INSERT INTO m VALUES (2, 'after the loss')")
      await backup.durable()
      expect(backup.events.some((event) => event.event === 'generation')).toBe(true)
      const restored = await backup.restore('latest')
      expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
      const gap = backup.repository.catalog.gaps.find((g) => g.scope.kind === 'stream')
      await expect(backup.restore(positionText(positionOf(gap!.from + 16n)))).rejects.toMatchObject({
        code: 'GAP',
      })
    },
  )
})
