/** WAL into Kafka, one record a row, against Kafka's own ProducerPerformance while pg_recvlogical drains the same backlog beside it. */
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startKafka } from '../support/kafka-bench.ts'
import { fetchJars } from '../support/parts/maven.ts'
import type { Figure } from './main.ts'
import { median, spread, timed } from './tools.ts'
import type { Workplace } from './workplace.ts'

const run = promisify(execFile)
/** Bytes of a change's key, value and header, on average, in this data. */
const RECORD_BYTES = 260

export async function benchKafka(workplace: Workplace, changes: number): Promise<Figure[]> {
  const { say, tools, pairs, folder } = workplace.options
  const home = await fetchJars('kafka-tools-4.3.1', [{ group: 'org.apache.kafka', artifact: 'kafka-tools', version: '4.3.1' }])
  const ratios: number[] = []
  const ours: number[] = []
  const theirs: number[] = []
  const peaks: number[] = []
  await using bench = await startKafka()
  const bootstrap = bench.kafka.bootstrap.join(',')
  for (let i = 0; i < pairs; i++) {
    const slot = await workplace.copySlot()
    const topic = `perf-${i}`
    const { Kafka, logLevel } = (await import('kafkajs')).default
    const admin = new Kafka({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: 4, replicationFactor: 1 }] })
    const draining = timed(join(tools, 'pg_recvlogical'), ['-d', workplace.url, '-S', slot, '--start', '-f', '/dev/null', '-o', 'proto_version=1', '-o', `publication_names=${workplace.publication}`, '-E', workplace.end])
    const { stdout } = await run('java', ['-Xmx512m', '-cp', join(home, 'lib', '*'), 'org.apache.kafka.tools.ProducerPerformance', '--topic', topic, '--num-records', String(changes), '--record-size', String(RECORD_BYTES), '--throughput', '-1', '--bootstrap-server', bootstrap, '--command-property', 'acks=all', 'enable.idempotence=true', 'max.in.flight.requests.per.connection=1'], { maxBuffer: 1 << 24 })
    const peer = Number(/([\d.]+) records\/sec/.exec(stdout.trim().split('\n').at(-1) ?? '')?.[1] ?? Number.NaN)
    await draining
    await workplace.dropSlot(slot)
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
    const own = await workplace.copySlot()
    const backup = await workplace.freshBackup(own)
    const child = await run(process.execPath, [...(process.env['BENCH_PROFILE'] === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', process.env['BENCH_PROFILE']]), new URL('./kafka-child.ts', import.meta.url).pathname, backup.storeUrl, backup.keys, workplace.url, workplace.end, bootstrap, bench.registry.url, `b${i}`], { maxBuffer: 1 << 20 })
    const report = JSON.parse(child.stdout.trim().split('\n').at(-1)!) as { seconds: number; peakBytes: number; cpu: { user: number; system: number } }
    await workplace.dropSlot(own)
    await rm(backup.storeUrl, { recursive: true, force: true })
    const rate = changes / report.seconds
    ours.push(rate)
    theirs.push(peer)
    ratios.push(rate / peer)
    peaks.push(report.peakBytes / 1e6)
    say(`kafka: ours ${Math.round(rate)} changes/s (cpu ${((report.cpu.user + report.cpu.system) / 1e6).toFixed(1)} s, ${(report.peakBytes / 1e6).toFixed(0)} MB), ProducerPerformance ${Math.round(peer)} records/s; ${folder}`)
  }
  return [{ what: 'WAL to Kafka, one record a row, acks=all', against: `ProducerPerformance beside pg_recvlogical, ${Math.round(median(theirs))} records/s`, measured: `${Math.round(median(ours))} changes/s, ${Math.max(...peaks).toFixed(0)} MB: ${median(ratios).toFixed(2)} of its rate (${spread(ratios)})`, reach: 'at least 0.5', reached: median(ratios) >= 0.5 }]
}
