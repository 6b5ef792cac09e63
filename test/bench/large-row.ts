/** Rows with one very large value: the peak memory of a base, of `up` and of a restore, each in a process of its own. */
import { TESTER } from '../support/actor.ts'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { init } from '../../services/app/operations/init.ts'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { installation } from '../support/postgres-tools.ts'
import type { Figure } from './main.ts'

const run = promisify(execFile)

const MEGABYTE = 1_000_000
const SIZES = (process.env['BENCH_LARGE_MB'] ?? '100,500').split(',').map(Number)
const KINDS = (process.env['BENCH_LARGE_KINDS'] ?? 'random,compressible').split(',')
/** What a process of ours takes beside the value: code, buffers of ordinary size. */
const OWN_MB = 300

interface ChildReport {
  readonly seconds: number
  readonly peakBytes: number
}

async function child(...args: readonly string[]): Promise<ChildReport> {
  const script = new URL('../support/large-row-child.ts', import.meta.url).pathname
  const { stdout, stderr } = await run(process.execPath, [script, ...args], { maxBuffer: 1 << 20 })
  if (stderr !== '') console.error(stderr)
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as ChildReport
}

/** Printable, so that it is as long in the database as on the wire. */
function text(kind: string, bytes: number): Buffer {
  if (kind !== 'random') return Buffer.alloc(bytes, 'a row that compresses well, over and over. ')
  const out = Buffer.allocUnsafe(bytes)
  for (let at = 0; at < bytes; at += 4 * MEGABYTE)
    out.write(randomBytes(3 * MEGABYTE).toString('base64'), at, 'latin1')
  return out
}

export async function benchLargeRow(folder: string, say: (text: string) => void): Promise<Figure[]> {
  await mkdir(folder, { recursive: true })
  // The server reads the values from there, and it does not run as root.
  await chmod(dirname(folder), 0o711)
  await chmod(folder, 0o755)
  const server = await EmbeddedPostgres.create({
    folder: join(folder, 'postgres'),
    packageRoot: installation(),
    settings: {
      fsync: 'off',
      max_wal_size: '8GB',
      max_replication_slots: '20',
      max_wal_senders: '20',
      log_min_messages: 'log',
    },
  })
  await server.start()
  const figures: Figure[] = []
  try {
    for (const megabytes of SIZES)
      for (const kind of KINDS) figures.push(...(await oneSize(server, folder, megabytes, kind, say)))
  } finally {
    await server.destroy()
  }
  return figures
}

async function oneSize(
  server: EmbeddedPostgres,
  folder: string,
  megabytes: number,
  kind: string,
  say: (text: string) => void,
): Promise<Figure[]> {
  const name = `large_${megabytes}_${kind}`
  const place = join(folder, name)
  const file = `${place}.txt`
  const admin = new pg.Client(server.url())
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  const source = new pg.Client(server.url(name))
  await source.connect()
  const figures: Figure[] = []
  const measure = (what: string, values: number, { seconds, peakBytes }: ChildReport): void => {
    const held = megabytes * values
    const peak = peakBytes / MEGABYTE
    const times = (peak - OWN_MB) / held
    say(`${name}: ${what}: ${peak.toFixed(0)} MB, ${seconds.toFixed(1)} s`)
    figures.push({
      what: `${what}, ${megabytes} MB, ${kind}`,
      against: `${held} MB to be held`,
      measured: `${peak.toFixed(0)} MB in ${seconds.toFixed(1)} s: ${times.toFixed(1)} times, beside ${OWN_MB} MB`,
      reach: 'at most 2.2 times',
      reached: times <= 2.2,
    })
  }
  const renew = async (): Promise<void> => {
    await writeFile(file, text(kind, megabytes * MEGABYTE), { mode: 0o644 })
  }
  const head = async (): Promise<string> =>
    (await source.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
  const restored = async (): Promise<ChildReport> => {
    await admin.query(`CREATE DATABASE ${name}_restored`)
    const report = await child('restore', config, server.url(`${name}_restored`))
    await admin.query(`DROP DATABASE ${name}_restored`)
    return report
  }
  const config = `${place}.yaml`
  try {
    await renew()
    await source.query('CREATE TABLE bare (v text); CREATE TABLE keyed (id int PRIMARY KEY, v text)')
    await source.query('INSERT INTO bare SELECT pg_read_file($1)', [file])
    await init({
      actor: TESTER,
      sourceUrl: server.url(name),
      storeUrl: `${place}.store`,
      keys: `${place}.keys`,
      configPath: config,
      name,
      recipients: 'rsa',
      consent: () => Promise.resolve(true),
    })
    measure('base copy', 1, await child('base', config))
    await source.query('INSERT INTO keyed SELECT 1, pg_read_file($1)', [file])
    measure('up: insert', 1, await child('stream', config, await head()))
    // Two tables are loaded at once.
    measure('restore of base and insert', 2, await restored())
    await renew()
    await source.query('UPDATE bare SET v = pg_read_file($1)', [file])
    measure('up: update under FULL', 2, await child('stream', config, await head()))
    measure('restore of that', 2, await restored())
  } finally {
    await source.end()
    await admin.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active`)
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
    for (const suffix of ['.txt', '.store', '.keys', '.yaml'])
      await rm(place + suffix, { recursive: true, force: true })
  }
  return figures
}
