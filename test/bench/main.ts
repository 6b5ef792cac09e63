/** npm run bench [-- plan chain seal ddl capture base rebuild lag requests reread memory kafka large-row]: ratios in one run, medians of interleaved pairs, with their spread. */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { benchBase } from './base.ts'
import { benchCapture, benchMemory } from './capture.ts'
import { applyChanges, load } from './dataset.ts'
import { benchChain } from './chain.ts'
import { benchDdl } from './ddl.ts'
import { benchKafka } from './kafka.ts'
import { benchLag } from './lag.ts'
import { benchLargeRow } from './large-row.ts'
import { benchPlan } from './plan.ts'
import { benchReread } from './reread.ts'
import { benchRequests } from './requests.ts'
import { benchSeal } from './seal.ts'
import { benchRebuild } from './rebuild.ts'
import { installation } from '../support/postgres-tools.ts'
import { Workplace } from './workplace.ts'

export interface Figure {
  readonly what: string
  readonly against: string
  readonly measured: string
  readonly reach: string
  readonly reached: boolean
}

const PAIRS = Number(process.env['BENCH_PAIRS'] ?? 5)
const MESSAGES = Number(process.env['BENCH_MESSAGES'] ?? 1_000_000)
const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 1_000_000)
const NAMES = 'plan chain seal ddl capture base rebuild lag requests reread memory kafka large-row'.split(' ')
const wanted = new Set(process.argv.slice(2))
const unknown = [...wanted].find((name) => !NAMES.includes(name))
if (unknown !== undefined) {
  const isHelp = unknown === '--help' || unknown === '-h'
  const usage = `usage: npm run bench [-- NAME …]
names: ${NAMES.join(' ')}; without one all but kafka and large-row
environment: BENCH_PAIRS (5), BENCH_MESSAGES (1000000), BENCH_CHANGES (1000000)`
  console[isHelp ? 'log' : 'error'](isHelp ? usage : `no figure is called ${unknown}\n${usage}`)
  process.exit(isHelp ? 0 : 2)
}
const want = (name: string): boolean => wanted.size === 0 || wanted.has(name)

const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
const figures: Figure[] = []
const say = (text: string): void => console.error(`[${(performance.now() / 1000).toFixed(0)} s] ${text}`)
if (want('plan')) figures.push(...(await benchPlan(join(folder, 'plan'), say)))
if (want('seal')) figures.push(...(await benchSeal(join(folder, 'seal'), PAIRS, say)))
if (want('ddl')) figures.push(...(await benchDdl(join(folder, 'ddl'), say)))
if (want('chain')) figures.push(...(await benchChain(join(folder, 'chain'), PAIRS, say)))
// Long, and about memory alone.
if (wanted.has('large-row')) figures.push(...(await benchLargeRow(join(folder, 'large-row'), say)))
if (
  [...wanted].some((name) => !['plan', 'chain', 'seal', 'ddl', 'large-row'].includes(name)) ||
  wanted.size === 0
)
  await withServer()
await rm(folder, { recursive: true, force: true })

async function withServer(): Promise<void> {
  const tools = installation()
  const server = await EmbeddedPostgres.create({
    folder: join(folder, 'postgres'),
    packageRoot: tools,
    settings: {
      shared_buffers: '2GB',
      max_wal_size: '8GB',
      synchronous_commit: 'off',
      autovacuum: 'off',
      max_replication_slots: '60',
      max_wal_senders: '60',
      wal_sender_timeout: '0',
      log_min_messages: 'log',
    },
  })
  await server.start()
  try {
    const admin = new pg.Client(server.url())
    await admin.connect()
    await admin.query('CREATE DATABASE im')
    const client = new pg.Client(server.url('im'))
    await client.connect()
    say(`loading ${MESSAGES * 3} rows and ${CHANGES} changes`)
    await load(server.url('im'), client, { messages: MESSAGES, changes: CHANGES, big: CHANGES / 10 })
    const workplace = await Workplace.open({
      folder,
      server,
      client,
      admin,
      tools: join(tools, 'bin'),
      pairs: PAIRS,
      say,
    })
    if (want('base')) figures.push(...(await benchBase(workplace)))
    if (want('rebuild') || want('lag') || want('reread')) await workplace.takeBase()
    await workplace.prepareStream()
    say('making the changes')
    workplace.walBytes = await applyChanges(client)
    await workplace.endStream()
    if (want('capture')) figures.push(...(await benchCapture(workplace, CHANGES)))
    // The rebuild reads the installation's own slot: one that stands before the changes is kept for later.
    const reserved = want('memory') ? await workplace.copySlot() : undefined
    if (wanted.has('kafka')) figures.push(...(await benchKafka(workplace, CHANGES)))
    if (want('rebuild')) figures.push(...(await benchRebuild(workplace)))
    if (reserved !== undefined) figures.push(...(await benchMemory(workplace, reserved)))
    if (want('lag')) figures.push(...(await benchLag(workplace)))
    if (want('requests')) figures.push(...(await benchRequests(workplace)))
    if (want('reread')) figures.push(...(await benchReread(workplace)))
    await client.end()
    await admin.end()
  } finally {
    await server.destroy()
  }
}
console.log(
  `\n${cpus().length} cores, ${cpus()[0]?.model ?? ''}, PostgreSQL 18.6, Node ${process.version}, ${PAIRS} pairs\n`,
)
console.log('| what | against | measured | reach | |')
console.log('|---|---|---|---|---|')
for (const f of figures)
  console.log(
    `| ${f.what} | ${f.against} | ${f.measured} | ${f.reach} | ${f.reached ? 'reached' : 'NOT reached'} |`,
  )
process.exit(0)
