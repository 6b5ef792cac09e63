/** WAL into Kafka, one record a row, against Kafka's own ProducerPerformance while pg_recvlogical drains the same backlog beside it. */
import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { comparePositions, parsePosition, positionOf } from '../../services/core/position.ts'
import { kafkaSettings, startKafka } from '../support/kafka-bench.ts'
import { fetchJars } from '../support/parts/maven.ts'
import { runDebezium } from './debezium.ts'
import { benchKafkaLag } from './lag.ts'
import type { Figure } from './main.ts'
import { median, spread, timed } from './tools.ts'
import type { Workplace } from './workplace.ts'

const run = promisify(execFile)
/** Bytes of a change's key, value and header, on average, in this data. */
const RECORD_BYTES = 260

export async function benchKafka(workplace: Workplace, changes: number): Promise<Figure[]> {
  const { say, tools, pairs, folder } = workplace.options
  const home = await fetchJars('kafka-tools-4.3.1', [
    { group: 'org.apache.kafka', artifact: 'kafka-tools', version: '4.3.1' },
  ])
  const ratios: number[] = []
  const ours: number[] = []
  const theirs: number[] = []
  const peaks: number[] = []
  const peers: { readonly ratio: number; readonly rate: number; readonly peakBytes: number }[] = []
  const rates: Record<number, number[]> = { 1: [], 2: [] }
  await using bench = await startKafka()
  const bootstrap = bench.kafka.bootstrap.join(',')
  for (let i = 0; i < pairs; i++) {
    const slot = await workplace.copySlot()
    const topic = `perf-${i}`
    const { Kafka, logLevel } = (await import('kafkajs')).default
    const admin = new Kafka({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: 4, replicationFactor: 1 }] })
    const draining = timed(join(tools, 'pg_recvlogical'), [
      '-d',
      workplace.url,
      '-S',
      slot,
      '--start',
      '-f',
      '/dev/null',
      '-o',
      'proto_version=1',
      '-o',
      `publication_names=${workplace.publication}`,
      '-E',
      workplace.end,
    ])
    const { stdout } = await run(
      'java',
      [
        '-Xmx512m',
        '-cp',
        join(home, 'lib', '*'),
        'org.apache.kafka.tools.ProducerPerformance',
        '--topic',
        topic,
        '--num-records',
        String(changes),
        '--record-size',
        String(RECORD_BYTES),
        '--throughput',
        '-1',
        '--bootstrap-server',
        bootstrap,
        '--command-property',
        'acks=all',
        'enable.idempotence=true',
        'max.in.flight.requests.per.connection=1',
      ],
      { maxBuffer: 1 << 24 },
    )
    const peer = Number(
      /([\d.]+) records\/sec/.exec(stdout.trim().split('\n').at(-1) ?? '')?.[1] ?? Number.NaN,
    )
    await draining
    await workplace.dropSlot(slot)
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
    const own = await workplace.copySlot()
    const backup = await workplace.freshBackup(own)
    const child = await run(
      process.execPath,
      [
        ...(process.env['BENCH_PROFILE'] === undefined
          ? []
          : ['--cpu-prof', '--cpu-prof-dir', process.env['BENCH_PROFILE']]),
        new URL('./kafka-child.ts', import.meta.url).pathname,
        backup.storeUrl,
        backup.keys,
        workplace.url,
        workplace.end,
        bootstrap,
        bench.registry.url,
        `b${i}`,
      ],
      { maxBuffer: 1 << 20 },
    )
    const report = JSON.parse(child.stdout.trim().split('\n').at(-1)!) as {
      seconds: number
      peakBytes: number
      cpu: { user: number; system: number }
    }
    await workplace.dropSlot(own)
    for (const count of i % 2 === 0 ? [1, 2] : [2, 1]) {
      const { rate, cores } = await compactors(count, {
        folder,
        kafka: bootstrap,
        registry: bench.registry.url,
        prefix: `b${i}`,
        keys: backup.keys,
        store: backup.storeUrl,
        end: workplace.end,
      })
      rates[count]!.push(rate)
      say(
        `kafka to segments: ${count} compactors, ${Math.round(rate)} changes/s on ${cores.toFixed(2)} cores, all processes of the machine ${busyCores().toFixed(2)}`,
      )
    }
    await rm(backup.storeUrl, { recursive: true, force: true })
    const other = await workplace.copySlot()
    const debezium = await runDebezium({
      folder,
      url: workplace.url,
      slot: other,
      publication: workplace.publication,
      bootstrap,
      prefix: `dbz${i}`,
      changes: Math.floor(changes * 0.98),
    })
    await workplace.dropSlot(other)
    peers.push({ ratio: changes / report.seconds / debezium.rate, ...debezium })
    say(`kafka: Debezium ${Math.round(debezium.rate)} records/s, ${(debezium.peakBytes / 1e6).toFixed(0)} MB`)
    const rate = changes / report.seconds
    ours.push(rate)
    theirs.push(peer)
    ratios.push(rate / peer)
    peaks.push(report.peakBytes / 1e6)
    say(
      `kafka: ours ${Math.round(rate)} changes/s (cpu ${((report.cpu.user + report.cpu.system) / 1e6).toFixed(1)} s, ${(report.peakBytes / 1e6).toFixed(0)} MB), ProducerPerformance ${Math.round(peer)} records/s; ${folder}`,
    )
  }
  const lag = await benchKafkaLag(workplace, kafkaSettings(bench, 'lag', { partitions: 4 }))
  return [
    {
      what: 'WAL to Kafka, one record a row, acks=all',
      against: `ProducerPerformance beside pg_recvlogical, ${Math.round(median(theirs))} records/s`,
      measured: `${Math.round(median(ours))} changes/s, ${Math.max(...peaks).toFixed(0)} MB: ${median(ratios).toFixed(2)} of its rate (${spread(ratios)})`,
      reach: 'at least 0.5',
      reached: median(ratios) >= 0.5,
    },
    beside(peers, ours, Math.max(...peaks)),
    shared(rates[1]!, rates[2]!),
    ...lag,
  ]
}

function beside(
  peers: readonly { readonly ratio: number; readonly rate: number; readonly peakBytes: number }[],
  ours: readonly number[],
  peak: number,
): Figure {
  const ratio = median(peers.map((peer) => peer.ratio))
  const memory = Math.max(...peers.map((peer) => peer.peakBytes)) / 1e6
  return {
    what: 'WAL to Kafka, beside Debezium',
    against: `Debezium 3.6.3 in Kafka Connect, JSON, ${Math.round(median(peers.map((peer) => peer.rate)))} records/s, ${memory.toFixed(0)} MB`,
    measured: `${Math.round(median(ours))} changes/s, ${peak.toFixed(0)} MB: ${ratio.toFixed(2)} times (${spread(peers.map((peer) => peer.ratio))})`,
    reach: 'at least 2 times its rate, in less memory',
    reached: ratio >= 2 && peak < memory,
  }
}

function shared(one: readonly number[], two: readonly number[]): Figure {
  const ratios = two.map((rate, i) => rate / one[i]!)
  return {
    what: 'Kafka to durable segments, two compactors',
    against: `one compactor, ${Math.round(median(one))} changes/s`,
    measured: `${Math.round(median(two))} changes/s: ${median(ratios).toFixed(2)} times (${spread(ratios)})`,
    reach: 'at least 1.6 times',
    reached: median(ratios) >= 1.6,
  }
}

/** Claims of the run before: each has its own copy of the ledger, and all share the board. */
let claimed = 0

interface Compaction {
  readonly folder: string
  readonly kafka: string
  readonly registry: string
  readonly prefix: string
  readonly keys: string
  /** With a generation and nothing more: a copy of it is filled. */
  readonly store: string
  readonly end: string
}

/** Changes a second from the moment on at which all of them have lanes, to the end of the log. */
async function compactors(
  count: number,
  options: Compaction,
): Promise<{ readonly rate: number; readonly cores: number }> {
  const store = join(options.folder, `store-compacted-${count}`)
  await cp(options.store, store, { recursive: true })
  const { repository } = await openBackup({ storeUrl: store, keys: options.keys, role: 'writer' })
  // What was posted for another copy of the ledger is of older terms.
  claimed += 60
  for (let i = 0; i < claimed; i++) await repository.claim(0)
  const config = join(options.folder, `compactor-${count}.yaml`)
  await writeFile(
    config,
    stringify({
      version: 1,
      source: { url: 'postgresql://nobody@127.0.0.1:1/none', slot: 'none', publication: 'none' },
      store: { url: store },
      keys: options.keys,
      log: 'kafka',
      kafka: {
        brokers: options.kafka.split(','),
        prefix: options.prefix,
        partitions: 4,
        replicationFactor: 1,
        registry: { url: options.registry },
      },
      roll: { age: '5s', size: process.env['BENCH_ROLL'] ?? '16MiB' },
      http: { port: 0 },
    }),
  )
  const members = Array.from({ length: count }, () => ({
    child: spawn(
      process.execPath,
      [
        new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname,
        'compactor',
        '--json',
        '--config',
        config,
      ],
      { cwd: options.folder, stdio: ['ignore', 'pipe', 'inherit'] },
    ),
    lanes: 0,
  }))
  const done = Promise.withResolvers<{ readonly rate: number; readonly cores: number }>()
  const cpu = (): number => members.reduce((sum, { child }) => sum + cpuSeconds(child.pid!), 0)
  let cpuAt = 0
  let startedAt: number | undefined
  let changes = 0
  for (const member of members) {
    createInterface({ input: member.child.stdout }).on('line', (line) => {
      const event = JSON.parse(line) as { event?: string; lanes?: unknown[]; changes?: number; to?: string }
      if (event.event === 'sharing') member.lanes = event.lanes?.length ?? 0
      if (startedAt === undefined && members.every((one) => one.lanes > 0)) {
        startedAt = performance.now()
        cpuAt = cpu()
        busyCores()
      } else if (startedAt !== undefined && event.event === 'durable') {
        changes += event.changes ?? 0
        const generation = event.to === undefined ? undefined : parsePosition(event.to)
        if (
          generation !== undefined &&
          comparePositions(generation, positionOf(parsePosition(options.end) - 4096n)) >= 0
        ) {
          const seconds = (performance.now() - startedAt) / 1000
          done.resolve({ rate: changes / seconds, cores: (cpu() - cpuAt) / seconds })
        }
      }
    })
    member.child.once('exit', (code) => done.reject(new Error(`a compactor ended with ${code}`)))
  }
  try {
    return await done.promise
  } finally {
    for (const { child } of members) child.removeAllListeners('exit').kill('SIGKILL')
    await rm(store, { recursive: true, force: true })
  }
}

/** Of a running process: user and system, from /proc/PID/stat in ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const busy = { ticks: 0, at: 0 }

/** Cores that the whole machine was busy with since the last call. */
function busyCores(): number {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number)
  const ticks = user! + nice! + system! + irq! + softirq!
  const now = performance.now()
  const cores = (ticks - busy.ticks) / 100 / ((now - busy.at) / 1000)
  busy.ticks = ticks
  busy.at = now
  return cores
}
