/** Apache Kafka from Maven's registry: one broker or several, KRaft, loopback only. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { JavaProcess, listening } from './java-process.ts'
import { fetchJars } from './maven.ts'

const run = promisify(execFile)
export const VERSION = '4.4.0'
const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qg'

export interface KafkaOptions {
  readonly folder: string
  readonly brokers?: number
  readonly settings?: Readonly<Record<string, string>>
  /** A second listener of each broker, by its security protocol; behind a proxy where an advertised port is given. */
  readonly second?: {
    readonly protocol: 'PLAINTEXT' | 'SASL_SSL' | 'SASL_PLAINTEXT'
    readonly advertised?: number
  }
  /** Users by SCRAM-SHA-512, with their passwords. */
  readonly users?: Readonly<Record<string, string>>
  readonly jvm?: readonly string[]
}

interface Broker {
  readonly port: number
  /** Of the second listener. */
  readonly secondPort: number
  readonly folder: string
  readonly process: JavaProcess
}

export class Kafka {
  readonly brokers: readonly Broker[]

  private constructor(brokers: readonly Broker[]) {
    this.brokers = brokers
  }

  static async create(options: KafkaOptions): Promise<Kafka> {
    const home = await fetchJars(`kafka-${VERSION}`, [
      { group: 'org.apache.kafka', artifact: 'kafka_2.13', version: VERSION },
      // slf4j-api is 1.7 in Kafka 4: this binding, not log4j-slf4j2-impl.
      { group: 'org.apache.logging.log4j', artifact: 'log4j-slf4j-impl', version: '2.25.5' },
    ])
    await mkdir(options.folder, { recursive: true })
    const logging = join(options.folder, 'log4j2.properties')
    await writeFile(
      logging,
      'status=error\nappender.f.type=Console\nappender.f.name=F\nappender.f.layout.type=PatternLayout\nappender.f.layout.pattern=%d{HH:mm:ss.SSS} %-5p %c{1}: %m%n\nrootLogger.level=warn\nrootLogger.appenderRef.f.ref=F\n',
    )
    const count = options.brokers ?? 1
    const ports: { broker: number; controller: number; second: number }[] = []
    for (let i = 0; i < count; i++)
      ports.push({ broker: await freePort(), controller: await freePort(), second: await freePort() })
    const voters = ports.map((p, i) => `${i + 1}@127.0.0.1:${p.controller}`).join(',')
    const brokers: Broker[] = []
    for (const [i, { broker, controller, second }] of ports.entries()) {
      const more = (port: number): string =>
        options.second === undefined ? '' : `,SECOND://127.0.0.1:${port}`
      const folder = join(options.folder, String(i + 1))
      await mkdir(folder, { recursive: true })
      const replicas = String(Math.min(3, count))
      const inSync = count >= 3 ? '2' : '1'
      const settings: Record<string, string> = {
        'process.roles': 'broker,controller',
        'node.id': String(i + 1),
        'controller.quorum.voters': voters,
        listeners: `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller}${more(second)}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${broker}${more(options.second?.advertised ?? second)}`,
        'controller.listener.names': 'CONTROLLER',
        'inter.broker.listener.name': 'PLAINTEXT',
        'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${options.second === undefined ? '' : `,SECOND:${options.second.protocol}`}`,
        'log.dirs': join(folder, 'log'),
        'auto.create.topics.enable': 'false',
        'default.replication.factor': replicas,
        'min.insync.replicas': inSync,
        'offsets.topic.replication.factor': replicas,
        'offsets.topic.num.partitions': '4',
        'transaction.state.log.replication.factor': replicas,
        'transaction.state.log.min.isr': inSync,
        'transaction.state.log.num.partitions': '4',
        'share.coordinator.state.topic.replication.factor': replicas,
        'share.coordinator.state.topic.min.isr': inSync,
        'share.coordinator.state.topic.num.partitions': '1',
        'group.initial.rebalance.delay.ms': '0',
        'num.network.threads': '2',
        'num.io.threads': '4',
        'log.cleaner.dedupe.buffer.size': '2097152',
        'message.max.bytes': '8388608',
        'replica.fetch.max.bytes': '8388608',
        // After kill -9 a restart waits until the old broker's session is over: 9 s by default.
        'broker.session.timeout.ms': '2000',
        'broker.heartbeat.interval.ms': '400',
        'controller.quorum.fetch.timeout.ms': '1000',
        'controller.quorum.election.timeout.ms': '500',
        'controller.quorum.election.backoff.max.ms': '500',
        ...options.settings,
      }
      await writeFile(
        join(folder, 'server.properties'),
        Object.entries(settings)
          .map(([key, value]) => `${key}=${value}\n`)
          .join(''),
      )
      const java = (...rest: string[]): string[] => [
        '-XX:+UseSerialGC',
        '-XX:TieredStopAtLevel=1',
        '-Xshare:auto',
        ...(options.jvm ?? []),
        `-Dlog4j2.configurationFile=${logging}`,
        '-cp',
        join(home, 'lib', '*'),
        ...rest,
      ]
      if (!existsSync(join(folder, 'log', 'meta.properties')))
        await run('java', [
          '-Xmx96m',
          ...java(
            'kafka.tools.StorageTool',
            'format',
            '-t',
            CLUSTER_ID,
            '-c',
            join(folder, 'server.properties'),
            '--ignore-formatted',
            ...Object.entries(options.users ?? {}).flatMap(([name, password]) => [
              '--add-scram',
              `SCRAM-SHA-512=[name=${name},password=${password}]`,
            ]),
          ),
        ])
      brokers.push({
        port: broker,
        secondPort: second,
        folder,
        process: new JavaProcess({
          args: ['-Xms128m', '-Xmx384m', ...java('kafka.Kafka', join(folder, 'server.properties'))],
          cwd: folder,
          log: join(folder, 'server.log'),
        }),
      })
    }
    return new Kafka(brokers)
  }

  /** host:port of every broker. */
  get bootstrap(): readonly string[] {
    return this.brokers.map((broker) => `127.0.0.1:${broker.port}`)
  }

  /** Of the first broker. */
  get folder(): string {
    return this.brokers[0]!.folder
  }

  async start(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.process.start(() => listening(broker.port))))
  }

  async stop(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.process.stop()))
  }

  async kill(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.process.kill()))
  }

  async destroy(): Promise<void> {
    await this.kill()
    for (const broker of this.brokers) await rm(broker.folder, { recursive: true, force: true })
  }
}
