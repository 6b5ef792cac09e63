/** `npm start`: the main job end to end on a real PostgreSQL, with proof. Reads as the story that it prints. */
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import pg from 'pg'
import { digestTables } from '../engines/postgres/session/digest.ts'
import { connect } from '../engines/postgres/session/session.ts'
import { openBackup } from '../app/wiring/open-backup.ts'
import { readConfig } from '../app/config/config.ts'
import { find } from '../app/operations/find.ts'
import { init } from '../app/operations/init.ts'
import { restore } from '../app/operations/restore.ts'
import type { Actor } from '../app/operations/actor.ts'
import { Up } from '../app/daemon/up.ts'
import type { Output } from '../terminal/output.ts'
import { bytesText, countText, table } from '../terminal/output.ts'
import { Progress } from '../terminal/progress.ts'
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, parsePosition } from '../core/position.ts'
import { deferred } from '../core/running-state.ts'
import { chat, SEED_SQL, type TrafficCounts } from './chat-traffic.ts'
import { deleteAllMessages } from './disaster.ts'
import { EmbeddedPostgres } from './embedded-postgres.ts'
import { shellWord } from '../core/shell-word.ts'

const USERS = 500
const CONVERSATIONS = 200
const MESSAGES = 60_000
const CONNECTIONS = 4
const TRAFFIC_MS = 8_000
const AFTER_MS = 1_500
const MARKER = '.tidemark-demo'

export interface DemoOptions {
  readonly actor: Actor
  readonly folder: string
  readonly output: Output
  readonly signal: AbortSignal
}

export async function runDemo({ folder, actor, output, signal }: DemoOptions): Promise<void> {
  const startedAt = performance.now()
  const progress = new Progress(output.json)
  const step = (text: string): void =>
    output.event(
      { event: 'step', text, seconds: seconds(startedAt) },
      `[${seconds(startedAt).toFixed(1).padStart(5)} s] ${text}`,
    )
  await emptyFolder(folder)
  step('starting a real PostgreSQL 18')
  const server = await EmbeddedPostgres.create({
    folder: join(folder, 'postgres'),
    settings: { shared_buffers: '256MB', max_wal_size: '2GB', max_slot_wal_keep_size: '4GB' },
  })
  const clients: pg.Client[] = []
  const open = async (database: string): Promise<pg.Client> => {
    const client = new pg.Client(server.url(database))
    client.on('error', () => undefined)
    await client.connect()
    clients.push(client)
    return client
  }
  let up: Up | undefined
  let running: Promise<void> = Promise.resolve()
  const stop = new AbortController()
  const all = AbortSignal.any([signal, stop.signal])
  try {
    await server.start()
    const admin = await open('postgres')
    await admin.query('CREATE DATABASE chat')
    await admin.query('CREATE DATABASE chat_restored')
    const chatDb = await open('chat')
    await chatDb.query(await readFile(new URL('./chat-schema.sql', import.meta.url), 'utf8'))
    await chatDb.query(SEED_SQL(USERS, CONVERSATIONS, MESSAGES))
    step(`chat database: ${USERS} users, ${countText(MESSAGES)} messages in five scripts, some of 100 kB`)

    const store = join(folder, 'store')
    const keys = join(folder, 'keys')
    const configPath = join(folder, 'tidemark.yaml')
    await init({
      actor,
      sourceUrl: server.url('chat'),
      storeUrl: store,
      keys,
      configPath,
      name: 'tidemark',
      recipients: 'rsa',
      consent: () => Promise.resolve(true),
    })
    const config = { ...readConfig(configPath), roll: { ageMs: 1_000, segmentBytes: 8 * 1024 * 1024 } }
    const { repository } = await openBackup({ storeUrl: store, keys, role: 'writer' })
    const streaming = deferred<void>()
    const lags: number[] = []
    const stored = { bytes: 0, changes: 0, transactions: 0, base: { rows: '0', bytes: '0' }, baseSeconds: 0 }
    const baseAt = performance.now()
    up = new Up({
      config,
      repository,
      onEvent: (event) => {
        if (event.event === 'base-progress')
          progress.show(
            'base',
            event.rows,
            Math.max(event.rows, event.estimatedRows),
            `${countText(event.rows)} rows`,
          )
        if (event.event === 'base') stored.base = event
        if (event.event === 'streaming') streaming.resolve()
        if (event.event === 'durable') {
          lags.push(event.lagMs)
          stored.bytes += event.bytes
          stored.changes += event.changes
          stored.transactions += event.transactions
        }
      },
    })
    running = up.run(stop.signal)
    // From here on a failure of the stream is a failure of the demonstration, at once.
    const failed = running.then(() => Promise.reject(new TidemarkError('INTERNAL', 'the stream ended early')))
    failed.catch(() => undefined)
    const counts: TrafficCounts = { transactions: 0, rows: 0 }
    const talking = await Promise.all(Array.from({ length: CONNECTIONS }, () => open('chat')))
    const hush = new AbortController()
    const traffic = Promise.all(
      talking.map((client, i) =>
        chat(client, 1000 + i, USERS, CONVERSATIONS, counts, AbortSignal.any([all, hush.signal])),
      ),
    )
    traffic.catch(() => undefined)
    step(`${CONNECTIONS} connections chat while the base is taken`)
    await Promise.race([streaming.promise, failed])
    stored.baseSeconds = seconds(baseAt)
    progress.stop()
    step(
      `base durable: ${countText(stored.base.rows)} rows, ${bytesText(stored.base.bytes)} encrypted; streaming`,
    )
    const trafficAt = performance.now()
    await Promise.race([wait(TRAFFIC_MS, all), failed, traffic])

    step('somebody runs DELETE FROM messages, without a WHERE')
    const culprit = await connect({ url: server.url('chat'), applicationName: 'psql', role: 'source' })
    const disaster = await deleteAllMessages(culprit)
    await culprit.end()
    await Promise.race([wait(AFTER_MS, all), failed, traffic])
    hush.abort()
    await traffic
    const trafficSeconds = seconds(trafficAt)
    const head = parsePosition(
      (await chatDb.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')).rows[0]!.lsn,
    )
    while (comparePositions(repository.catalog.generation!.end, head) < 0) {
      up.source?.wantHeartbeat()
      await Promise.race([wait(50, all), failed])
    }
    up.drain()
    await running

    const found = await find({
      actor,
      storeUrl: store,
      keys,
      around: undefined,
      withinMinutes: 60,
      minRows: 1,
      limit: 3,
    })
    const named = found.transactions[0]
    if (named === undefined || named.xid !== disaster.xid)
      throw new TidemarkError(
        'NOT_PROVEN',
        `the transaction that deleted everything is ${disaster.xid}; find named ${named?.xid ?? 'none'}`,
      )
    step(`Tidemark names it: xid:${named.xid} at ${named.position}, ${countText(named.rows)} rows`)
    const restoreAt = performance.now()
    const report = await restore({
      actor,
      storeUrl: store,
      keys,
      at: `before:xid:${named.xid}`,
      into: server.url('chat_restored'),
      exceptTables: [],
      dryRun: false,
      signal: all,
      events: { onProgress: (p) => progress.show(p.stage, p.done, p.total, p.what) },
    })
    progress.stop()
    const restoreSeconds = seconds(restoreAt)
    const result = report.result!
    step(
      `restored to ${result.reached.position}, just before it: ${countText(result.rows)} rows in ${restoreSeconds.toFixed(1)} s`,
    )
    const reader = await connect({
      url: server.url('chat_restored'),
      applicationName: 'psql',
      role: 'target',
    })
    const got = await digestTables(async (sql) => (await reader.query(sql)).rows as Record<string, unknown>[])
    await reader.end()
    const compared = disaster.digests.map((want) => {
      const have = got.find((d) => d.schema === want.schema && d.name === want.name)
      return {
        table: `${want.schema}.${want.name}`,
        rows: want.rows,
        equal: have !== undefined && have.digest === want.digest && have.rows === want.rows,
      }
    })
    const proven = compared.length > 0 && compared.length === got.length && compared.every((c) => c.equal)

    lags.sort((a, b) => a - b)
    output.line()
    output.line(
      table([
        ['table', 'rows before the disaster', 'restored'],
        ...compared.map((c) => [c.table, countText(c.rows), c.equal ? 'equal' : 'DIFFERENT']),
      ]),
    )
    output.line()
    output.line(
      table([
        [
          'position',
          `${result.reached.position}, committed ${result.reached.committedAt ?? 'with the base'}`,
        ],
        [
          'lost by waiting',
          `${countText(disaster.deleted)} messages deleted at ${disaster.at.toISOString()}`,
        ],
        [
          'base',
          `${countText(stored.base.rows)} rows, ${bytesText(stored.base.bytes)} in ${stored.baseSeconds.toFixed(1)} s, under traffic`,
        ],
        [
          'stream',
          `${countText(stored.changes)} changes in ${countText(stored.transactions)} transactions, ${bytesText(stored.bytes)} encrypted (${countText(Math.round(counts.transactions / trafficSeconds))} transactions/s)`,
        ],
        [
          'commit to durable',
          `median ${text(lags[Math.floor(lags.length / 2)])}, worst ${text(lags.at(-1))} (segments roll every ${config.roll.ageMs / 1000} s here)`,
        ],
        [
          'restore',
          `fold ${result.seconds.fold.toFixed(1)} s, load ${result.seconds.load.toFixed(1)} s, keys and indexes ${result.seconds.indexes.toFixed(1)} s`,
        ],
      ]),
    )
    output.line()
    if (!proven)
      throw new TidemarkError(
        'NOT_PROVEN',
        `the restored database differs: ${compared
          .filter((c) => !c.equal)
          .map((c) => c.table)
          .join(', ')}`,
      )
    const here = relative(process.cwd(), folder) || '.'
    const flags = `--store ${shellWord(`${here}/store`)} --keys ${shellWord(`${here}/keys`)}`
    output.line(
      `Proven: every table equals what the server itself digested in the moment before the disaster. ${seconds(startedAt).toFixed(1)} s in all.`,
    )
    output.line()
    output.line('The backup it left behind, to try:')
    output.line(`  npx tidemark windows ${flags}`)
    output.line(`  npx tidemark find --operation delete ${flags}`)
    output.line(
      `  npx tidemark read --table public.reactions --from ${stored.base.bytes === '0' ? 'latest' : repository.catalog.generation!.base!.entry.closing} --to before:xid:${named.xid} ${flags}`,
    )
    output.line(`  npx tidemark restore --dry-run --at before:xid:${named.xid} ${flags}`)
    output.line(`  npx tidemark verify ${flags}`)
    output.line('Your own database: README.md, "A real database in five minutes".')
    output.result({
      proven,
      reached: result.reached,
      tables: compared.map((c) => ({ ...c, rows: String(c.rows) })),
      transaction: named.xid,
      seconds: seconds(startedAt),
    })
  } finally {
    progress.stop()
    stop.abort(new DOMException('stopped', 'AbortError'))
    await running.catch(() => undefined)
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)))
    await server.destroy()
  }
}

function seconds(from: number): number {
  return (performance.now() - from) / 1000
}

function text(ms: number | undefined): string {
  return ms === undefined ? 'unknown' : `${(ms / 1000).toFixed(2)} s`
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason as Error)), {
      once: true,
    })
  })
}

/** Only ever empties a folder of its own. */
async function emptyFolder(folder: string): Promise<void> {
  const ours = await access(join(folder, MARKER)).then(
    () => true,
    () => false,
  )
  const exists = await access(folder).then(
    () => true,
    () => false,
  )
  if (exists && !ours)
    throw new TidemarkError('USAGE', `${folder} exists and is not a folder of the demonstration`, {
      next: 'tidemark demo --folder ANOTHER',
    })
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, MARKER), '')
}
