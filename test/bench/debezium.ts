/** Debezium 3.6.3 in Kafka Connect's standalone worker: the same backlog behind a slot, into the same broker, as JSON. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { freePort } from '../../services/demo/embedded-postgres.ts'
import { fetchJars } from '../support/parts/maven.ts'

export interface DebeziumRun {
  readonly folder: string
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly bootstrap: string
  readonly prefix: string
  /** How many records are to come. */
  readonly changes: number
}

const KAFKA = '4.3.1'
const LIMIT_MS = 300_000

/** Records a second from its first record on (the start of Java is left out), and its peak resident size. */
export async function runDebezium(
  options: DebeziumRun,
): Promise<{ readonly rate: number; readonly peakBytes: number }> {
  const home = await fetchJars('debezium-3.6.3', [
    { group: 'org.apache.kafka', artifact: 'connect-runtime', version: KAFKA },
    { group: 'org.apache.kafka', artifact: 'connect-json', version: KAFKA },
    { group: 'io.debezium', artifact: 'debezium-connector-postgres', version: '3.6.3.Final' },
    { group: 'org.apache.logging.log4j', artifact: 'log4j-slf4j-impl', version: '2.25.5' },
  ])
  const folder = join(options.folder, options.prefix)
  await mkdir(folder, { recursive: true })
  const url = new URL(options.url)
  const file = async (name: string, settings: Readonly<Record<string, string>>): Promise<string> => {
    const path = join(folder, name)
    await writeFile(
      path,
      Object.entries(settings)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(''),
    )
    return path
  }
  const logging = await file('log4j2.properties', {
    status: 'error',
    'appender.f.type': 'Console',
    'appender.f.name': 'F',
    'appender.f.layout.type': 'PatternLayout',
    'appender.f.layout.pattern': '%-5p %c{1}: %m%n',
    'rootLogger.level': 'error',
    'rootLogger.appenderRef.f.ref': 'F',
  })
  const json = 'org.apache.kafka.connect.json.JsonConverter'
  const worker = await file('worker.properties', {
    'bootstrap.servers': options.bootstrap,
    'key.converter': json,
    'key.converter.schemas.enable': 'false',
    'value.converter': json,
    'value.converter.schemas.enable': 'false',
    'offset.storage.file.filename': join(folder, 'offsets'),
    'plugin.discovery': 'only_scan',
    listeners: `http://127.0.0.1:${await freePort()}`,
    'topic.creation.enable': 'true',
    'producer.acks': 'all',
    'producer.batch.size': '262144',
    'producer.linger.ms': '10',
  })
  const connector = await file('connector.properties', {
    name: options.prefix,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': url.hostname,
    'database.port': url.port,
    'database.user': decodeURIComponent(url.username),
    'database.password': decodeURIComponent(url.password),
    'database.dbname': url.pathname.slice(1),
    'plugin.name': 'pgoutput',
    'slot.name': options.slot,
    'publication.name': options.publication,
    'publication.autocreate.mode': 'disabled',
    'snapshot.mode': 'no_data',
    'topic.prefix': options.prefix,
    'max.batch.size': '8192',
    'max.queue.size': '32768',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '4',
  })
  const child = spawn(
    'java',
    [
      '-Xms256m',
      '-Xmx2g',
      `-Dlog4j2.configurationFile=${logging}`,
      '-cp',
      join(home, 'lib', '*'),
      'org.apache.kafka.connect.cli.ConnectStandalone',
      worker,
      connector,
    ],
    { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const admin = new Kafka({ brokers: options.bootstrap.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const count = async (): Promise<number> => {
      let sum = 0
      for (const topic of (await admin.listTopics()).filter((name) => name.startsWith(`${options.prefix}.`)))
        for (const partition of await admin.fetchTopicOffsets(topic)) sum += Number(partition.high)
      return sum
    }
    const deadline = performance.now() + LIMIT_MS
    let first: { readonly at: number; readonly records: number } | undefined
    for (;;) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`Debezium did not bring ${options.changes} records; ${folder}`)
      const records = await count()
      const at = performance.now()
      if (first === undefined && records > 0) first = { at, records }
      if (first !== undefined && records >= options.changes)
        return { rate: (records - first.records) / ((at - first.at) / 1000), peakBytes: peakOf(child.pid!) }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  } finally {
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(killer)
    const topics = (await admin.listTopics()).filter((name) => name.startsWith(`${options.prefix}.`))
    if (topics.length > 0) await admin.deleteTopics({ topics })
    await admin.disconnect()
  }
}

/** VmHWM of a running process. */
function peakOf(pid: number): number {
  return (
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) * 1024
  )
}
