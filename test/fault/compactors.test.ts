/** Several compactors over one log: killed, joined and left in the middle of their work, on a real Kafka and registry. */
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Backup, digests, shown } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { Running } from '../support/cli.ts'
import { NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

let bench: SharedKafka

const SETUP = `CREATE TABLE parent (id bigint PRIMARY KEY, name text); CREATE TABLE child (id bigint PRIMARY KEY, parent bigint REFERENCES parent, body text); INSERT INTO parent SELECT g, 'p' || g FROM generate_series(1, 20) g`

async function write(backup: Backup, round: number): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const id = round * 1000 + i * 100
    await backup.source.query(
      `BEGIN; INSERT INTO parent VALUES (${id}, 'p'); INSERT INTO child SELECT g, ${id}, repeat(md5(g::text), 20) FROM generate_series(${id}, ${id + 50}) g; UPDATE child SET id = id + 10000000, body = body || 'x' WHERE id = ${id}; DELETE FROM child WHERE id = ${id + 1}; COMMIT`,
    )
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** What follows from a member that stood still. */
const STILL = byTurns('members that stood still', ['upload', 'again', 'stopped'], 2)

describe.skipIf(NO_KAFKA !== undefined)('compactors', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)
  afterEach(() => Running.killAll())

  async function prepare(prefix: string): Promise<Backup> {
    const backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({
        ...settings,
        log: 'kafka',
        kafka: {
          brokers: bench.kafka.bootstrap,
          prefix,
          partitions: 4,
          replicationFactor: 1,
          registry: { url: bench.registry.url },
        },
        roll: { age: '200ms', size: '64KiB' },
        http: { port: 0 },
      }),
    )
    return backup
  }

  const start = (backup: Backup, name: string, env: NodeJS.ProcessEnv = {}): Running =>
    new Running([name, '--json', '--config', backup.configPath], { cwd: backup.folder, env })

  /** Until the source's slot has followed everything written so far. */
  async function durable(backup: Backup, running: readonly Running[]): Promise<void> {
    const head = (await backup.source.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!
      .l
    const deadline = performance.now() + 90_000
    for (;;) {
      const slot = await backup.source.query<{ ok: boolean }>(
        'SELECT confirmed_flush_lsn >= $2::pg_lsn AS ok FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot, head],
      )
      if (slot.rows[0]?.ok === true) return
      if (performance.now() > deadline)
        throw new Error(
          `the slot did not follow: ${running.map((one) => one.output.slice(-1500)).join('\n---\n')}`,
        )
      await backup.source.query(`UPDATE parent SET name = name WHERE id = 1`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  async function stopAll(running: readonly Running[]): Promise<void> {
    for (const one of running) one.child.kill('SIGTERM')
    for (const ended of await Promise.all(running.map((one) => one.finished)))
      expect(ended.last.ok, ended.stdout.slice(-800) + ended.stderr).toBe(true)
  }

  /** The one that said last that it leads. */
  const leads = (one: Running): boolean =>
    (
      JSON.parse(one.output.split('\n').findLast((line) => line.includes('"sharing"')) ?? '{}') as {
        leads?: boolean
      }
    ).leads === true
  const builds = (one: Running): boolean =>
    !(one.output.split('\n').findLast((line) => line.includes('"sharing"')) ?? '"lanes":[]').includes(
      '"lanes":[]',
    )

  async function until(condition: () => boolean, what: string, running: readonly Running[]): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!condition()) {
      if (performance.now() > deadline)
        throw new Error(`${what}: ${running.map((one) => one.output.slice(-800)).join('\n---\n')}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  test('a compactor never connects to the source, whoever asks for its health', async () => {
    await using backup = await prepare('alone')
    let made = 0
    const nobody = createServer((socket) => {
      made++
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve))
    const url = new URL(backup.sourceUrl)
    url.port = String((nobody.address() as AddressInfo).port)
    const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
    const elsewhere = join(backup.folder, 'elsewhere.yaml')
    await writeFile(
      elsewhere,
      stringify({ ...settings, source: { ...settings.source, url: url.toString() } }),
    )
    const replicator = start(backup, 'replicator')
    const compactor = new Running(['compactor', '--json', '--config', elsewhere], { cwd: backup.folder })
    try {
      await Promise.all([replicator.said('"streaming"'), compactor.said('"streaming"')])
      await backup.source.query(`UPDATE parent SET name = name WHERE id = 1`)
      await durable(backup, [replicator, compactor])
      const { address } = JSON.parse(
        compactor.output.split('\n').find((line) => line.includes('"listening"'))!,
      ) as { address: string }
      expect((await fetch(`${address}/readyz`)).status).toBe(200)
      const metrics = await (await fetch(`${address}/metrics`)).text()
      expect(metrics).toMatch(/tidemark_lag_bytes NaN$/m)
      expect(metrics).toContain('tidemark_open_gaps 0')
      await stopAll([replicator, compactor])
      expect(made).toBe(0)
    } finally {
      nobody.close()
    }
  })

  test('three share the work; a builder and the leader are killed in the middle of it, one joins, one leaves', {
    timeout: 480_000,
  }, async () => {
    await using backup = await prepare('shared')
    const replicator = start(backup, 'replicator')
    const first = start(backup, 'compactor')
    await first.said('"streaming"')
    await until(() => leads(first), 'the first leads', [first])
    // This one dies when its third segment is stored and nobody has heard of it.
    const doomed = start(backup, 'compactor', { TIDEMARK_CRASH_AT: 'segment-stored:3' })
    const third = start(backup, 'compactor')
    const all = [replicator, first, doomed, third]
    await until(() => [first, doomed, third].every(builds), 'all have lanes', all)
    let round = 1
    let killed = false
    void doomed.finished.then(() => (killed = true))
    for (const limit = performance.now() + 120_000; !killed && performance.now() < limit; round++)
      await write(backup, round)
    expect(killed, `it built nothing: ${doomed.output.slice(-1000)}`).toBe(true)
    await write(backup, ++round)
    await durable(backup, all)
    first.child.kill('SIGKILL')
    await write(backup, ++round)
    const late = start(backup, 'compactor')
    await write(backup, ++round)
    await durable(backup, [...all, late])
    expect(leads(third) || leads(late)).toBe(true)
    // One leaves as it should, the other goes on.
    await stopAll([third])
    await write(backup, ++round)
    await durable(backup, [replicator, late])
    await stopAll([replicator, late])
    await equalToSource(backup)
    const { catalog } = await backup.openRepository()
    expect(catalog.gaps).toEqual([])
    expect(catalog.claims.get(0)!.term).toBeGreaterThanOrEqual(2)
  })

  test.runIf(STILL.includes('upload'))(
    'lanes change hands while a member is in the middle of an upload; it goes on later, and one of the two uploads counts',
    {
      timeout: 480_000,
    },
    async () => {
      await using backup = await prepare('upload')
      const replicator = start(backup, 'replicator')
      const first = start(backup, 'compactor')
      await first.said('"streaming"')
      await until(() => leads(first), 'the first leads', [first])
      // Stops itself when a segment is stored and its index is not.
      const slow = start(backup, 'compactor', {
        TIDEMARK_CRASH_AT: 'segment-stored:2',
        TIDEMARK_CRASH_BY: 'SIGSTOP',
      })
      const all = [replicator, first, slow]
      await until(() => builds(slow), 'both have lanes', all)
      const isStopped = async (): Promise<boolean> =>
        / T/.test((await readFile(`/proc/${slow.child.pid}/stat`, 'utf8')).replace(/^.*\)/, ''))
      let round = 1
      for (
        const limit = performance.now() + 120_000;
        !(await isStopped()) && performance.now() < limit;
        round++
      )
        await write(backup, round)
      expect(await isStopped(), `it built nothing: ${slow.output.slice(-1000)}`).toBe(true)
      // Its lanes go to the other, with the cut that it was building.
      await durable(backup, all)
      slow.child.kill('SIGCONT')
      for (let i = 0; i < 10; i++) await write(backup, ++round)
      await until(() => builds(slow) && builds(first), 'both have lanes again', all)
      await write(backup, ++round)
      await durable(backup, all)
      await stopAll(all)
      await equalToSource(backup)
      expect((await backup.openRepository()).catalog.gaps).toEqual([])
    },
  )

  test.runIf(STILL.includes('again'))(
    'a leader that was stopped and is chosen again, because its successor left, leads anew',
    {
      timeout: 480_000,
    },
    async () => {
      await using backup = await prepare('again')
      const replicator = start(backup, 'replicator')
      const first = start(backup, 'compactor')
      await first.said('"streaming"')
      await until(() => leads(first), 'the first leads', [first])
      const second = start(backup, 'compactor')
      const all = [replicator, first, second]
      await until(() => builds(second), 'both have lanes', all)
      await write(backup, 1)
      await durable(backup, all)
      const stopped = leads(first) ? first : second
      const other = stopped === first ? second : first
      stopped.child.kill('SIGSTOP')
      await write(backup, 2)
      await until(() => leads(other), 'the other leads', all)
      await write(backup, 3)
      await durable(backup, all)
      await stopAll([other])
      await write(backup, 4)
      stopped.child.kill('SIGCONT')
      await write(backup, 5)
      await durable(backup, [replicator, stopped])
      await stopAll([replicator, stopped])
      await equalToSource(backup)
      expect((await backup.openRepository()).catalog.gaps).toEqual([])
    },
  )

  test.runIf(STILL.includes('stopped'))(
    'a leader that was stopped, replaced and goes on again is fenced and helps',
    {
      timeout: 480_000,
    },
    async () => {
      await using backup = await prepare('stopped')
      const replicator = start(backup, 'replicator')
      const first = start(backup, 'compactor')
      await first.said('"streaming"')
      await until(() => leads(first), 'the first leads', [first])
      const second = start(backup, 'compactor')
      const all = [replicator, first, second]
      await until(() => builds(second), 'both have lanes', all)
      await write(backup, 1)
      await durable(backup, all)
      first.child.kill('SIGSTOP')
      await write(backup, 2)
      await until(() => leads(second), 'the second leads', all)
      await write(backup, 3)
      await durable(backup, all)
      first.child.kill('SIGCONT')
      for (let round = 4; round < 12; round++) await write(backup, round)
      await until(() => builds(first) && builds(second), 'both have lanes again', all)
      await write(backup, 13)
      await durable(backup, all)
      expect(first.child.exitCode, first.output.slice(-800)).toBe(null)
      await stopAll(all)
      await equalToSource(backup)
    },
  )
})
