/** Rebuild of base + changes, against COPY of the final state into bare tables and its keys and indexes, on as many connections. */
import { TESTER } from '../support/actor.ts'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { openSource } from '../../services/app/wiring/compose.ts'
import { restore } from '../../services/app/operations/restore.ts'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { WireSession } from '../../services/engines/postgres/session/wire-session.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import type { Figure } from './main.ts'
import { median, spread, timed } from './tools.ts'
import type { Workplace } from './workplace.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'

const TABLES = ['messages', 'receipts', 'members', 'users', 'conversations']
const INDEXES: Readonly<Record<string, readonly string[]>> = {
  messages: [
    'ALTER TABLE messages ADD PRIMARY KEY (id)',
    'CREATE INDEX messages_conv ON messages (conversation_id, id)',
  ],
  receipts: ['ALTER TABLE receipts ADD PRIMARY KEY (message_id, user_id)'],
  members: ['ALTER TABLE members ADD PRIMARY KEY (conversation_id, user_id)'],
  users: ['ALTER TABLE users ADD PRIMARY KEY (id)'],
  conversations: ['ALTER TABLE conversations ADD PRIMARY KEY (id)'],
}
const BARE = `
CREATE TABLE users (id bigint NOT NULL, handle text NOT NULL, display_name text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE conversations (id bigint NOT NULL, kind smallint NOT NULL, title text, created_at timestamptz NOT NULL);
CREATE TABLE members (conversation_id bigint NOT NULL, user_id bigint NOT NULL, role smallint NOT NULL, joined_at timestamptz NOT NULL);
CREATE TABLE messages (id bigint NOT NULL, conversation_id bigint NOT NULL, sender_id bigint NOT NULL, sent_at timestamptz NOT NULL, kind smallint NOT NULL, body text, attrs jsonb, edited_at timestamptz);
CREATE TABLE receipts (message_id bigint NOT NULL, user_id bigint NOT NULL, read_at timestamptz NOT NULL);`

/** The backup that is rebuilt: a base from before the changes (taken by `prepareBase`) and the changes as segments. */
async function drainInto(workplace: Workplace): Promise<void> {
  const { openBackup } = await import('../../services/app/wiring/open-backup.ts')
  const { repository } = await openBackup({
    storeUrl: workplace.storeUrl,
    keys: workplace.keys,
    role: 'writer',
  })
  const generation = repository.catalog.generation!
  const source = openSource(
    {
      path: '',
      source: { url: workplace.url, names: { slot: '', publication: '' } },
      storeUrl: '',
      keys: '',
      roll: { ageMs: 0, segmentBytes: 0 },
      http: { host: '', port: 0, compactorPort: 0 },
      logLevel: 'info',
    },
    generation,
  )
  const stop = new AbortController()
  const log = new DirectChangeLog()
  const end = parsePosition(workplace.end)
  const term = await repository.claim(0)
  const compactor = new Compactor({
    log,
    repository,
    generation: 1,
    term,
    policy: { segmentBytes: 32 << 20, ageMs: 5000 },
    clock: systemClock,
    randomness: systemRandomness,
    events: {
      onDurable: (e) =>
        comparePositions(e.end, end) >= 0 && stop.abort(new DOMException('done', 'AbortError')),
    },
  })
  const replicator = new Replicator({
    records: postgresDialect.records,
    source,
    log,
    from: generation.endPoint,
    durable: generation.end,
    checked: generation.end,
    sampleMs: 60_000,
    schemaMs: 100,
    reading: undefined,
    clock: systemClock,
    randomness: systemRandomness,
    events: { onGap: () => undefined },
  })
  await Promise.allSettled([compactor.run(stop.signal), replicator.run(stop.signal)])
  await source.close()
}

export async function benchRebuild(workplace: Workplace): Promise<Figure[]> {
  const { say, pairs, admin, server, folder, tools } = workplace.options
  say('rebuild: the final state as COPY files, and the backup')
  const exporter = new pg.Client(workplace.url)
  await exporter.connect()
  for (const table of TABLES)
    await timed(join(tools, 'psql'), [
      '-q',
      '-d',
      workplace.url,
      '-c',
      `\\copy ${table} TO '${join(folder, `${table}.copy`)}' (FORMAT binary)`,
    ])
  await exporter.end()
  await drainInto(workplace)
  const ours: number[] = []
  const limits: number[] = []
  let shown = ''
  for (let i = 0; i < pairs; i++) {
    await admin.query('DROP DATABASE IF EXISTS bare')
    await admin.query('CREATE DATABASE bare')
    await admin.query('CHECKPOINT')
    const bare = server.url('bare')
    const limitFrom = performance.now()
    const maker = await WireSession.open({ url: bare, applicationName: 'bench', role: 'target' })
    await maker.query(`SET search_path = public; ${BARE}`)
    maker.close()
    const queue = [...TABLES]
    await Promise.all(
      [0, 1].map(async () => {
        for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
          const script = [
            `BEGIN; TRUNCATE ${table};`,
            `\\copy ${table} FROM '${join(folder, `${table}.copy`)}' (FORMAT binary, FREEZE)`,
            'COMMIT;',
            "SET maintenance_work_mem = '256MB';",
            ...INDEXES[table]!.map((sql) => `${sql};`),
          ]
          await timed(join(tools, 'psql'), ['-q', '-d', bare, ...script.flatMap((line) => ['-c', line])])
        }
      }),
    )
    limits.push((performance.now() - limitFrom) / 1000)
    await admin.query('DROP DATABASE bare')
    await admin.query('DROP DATABASE IF EXISTS rebuilt')
    await admin.query('CREATE DATABASE rebuilt')
    await admin.query('CHECKPOINT')
    const cpu = process.cpuUsage()
    const from = performance.now()
    const report = await restore({
      actor: TESTER,
      storeUrl: workplace.storeUrl,
      keys: workplace.keys,
      at: 'latest',
      into: server.url('rebuilt'),
      exceptTables: [],
      dryRun: false,
      signal: new AbortController().signal,
      events: {},
    })
    ours.push((performance.now() - from) / 1000)
    const used = process.cpuUsage(cpu)
    const s = report.result!.seconds
    shown = `schema ${s.schema.toFixed(1)}, fold ${s.fold.toFixed(1)}, load ${s.load.toFixed(1)}, indexes ${s.indexes.toFixed(1)} s; ${report.result!.rows} rows, our CPU ${((used.user + used.system) / 1e6).toFixed(1)} s`
    say(
      `rebuild: ours ${ours.at(-1)!.toFixed(2)} s (${shown}), limit ${limits.at(-1)!.toFixed(2)} s, peak ${(process.resourceUsage().maxRSS / 1e3).toFixed(0)} MB`,
    )
    await admin.query('DROP DATABASE rebuilt')
  }
  for (const table of TABLES) await rm(join(folder, `${table}.copy`))
  const ratios = ours.map((o, i) => o / limits[i]!)
  return [
    {
      what: 'rebuild of base + 1 M changes',
      against: `COPY of the final state into bare tables + keys and indexes, 2 connections, ${median(limits).toFixed(1)} s (${spread(limits)})`,
      measured: `${median(ours).toFixed(1)} s (${spread(ours)}): ${median(ratios).toFixed(2)} times (${spread(ratios)})`,
      reach: 'at most 1.5 times',
      reached: median(ratios) <= 1.5,
    },
  ]
}
