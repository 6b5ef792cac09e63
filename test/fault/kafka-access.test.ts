/** A cluster with rules of access: what a login needs, and each thing that it lacks is named with its operation. */
import { randomUUID } from 'node:crypto'
import kafkajs, { type AclEntry, type Admin } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { examineLog } from '../../services/app/wiring/compose.ts'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { asTidemarkError, type TidemarkError } from '../../services/core/errors.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { type KafkaBench, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

const PASSWORD = `secret-${randomUUID()}`
const {
  AclOperationTypes: operation,
  AclPermissionTypes: permission,
  AclResourceTypes: resource,
  ResourcePatternTypes: pattern,
} = kafkajs

let bench: KafkaBench
let admin: Admin

const rule = (
  resourceType: number,
  name: string,
  what: number,
  over: { readonly isDenied?: boolean; readonly isPrefix?: boolean } = {},
): AclEntry => ({
  principal: 'User:tidemark',
  host: '*',
  operation: what,
  permissionType: over.isDenied === true ? permission.DENY : permission.ALLOW,
  resourceType,
  resourceName: name,
  resourcePatternType: over.isPrefix === true ? pattern.PREFIXED : pattern.LITERAL,
})

/** As the README has them: all that a login needs, for every prefix here. */
const NEEDED: readonly AclEntry[] = [
  ...[operation.CREATE, operation.DESCRIBE, operation.DESCRIBE_CONFIGS, operation.READ, operation.WRITE].map(
    (what) => rule(resource.TOPIC, 'rules-', what, { isPrefix: true }),
  ),
  ...[operation.DESCRIBE, operation.READ].map((what) =>
    rule(resource.GROUP, 'rules-', what, { isPrefix: true }),
  ),
  ...[operation.DESCRIBE, operation.WRITE].map((what) =>
    rule(resource.TRANSACTIONAL_ID, 'rules-', what, { isPrefix: true }),
  ),
  ...[operation.DESCRIBE, operation.DESCRIBE_CONFIGS].map((what) =>
    rule(resource.CLUSTER, 'kafka-cluster', what),
  ),
]

describe.skipIf(NO_KAFKA !== undefined)('a Kafka with rules of access', () => {
  beforeAll(async () => {
    bench = await startKafka({
      second: { protocol: 'SASL_PLAINTEXT' },
      settings: {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        // Whoever comes over the first listener: the broker itself, and the operator here.
        'super.users': 'User:ANONYMOUS',
        'listener.name.second.sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.second.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_tidemark="${PASSWORD}";`,
      },
    })
    admin = new kafkajs.Kafka({
      brokers: [...bench.kafka.bootstrap],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
    await admin.connect()
    await admin.createAcls({ acl: [...NEEDED] })
  }, 300_000)
  afterAll(async () => {
    await admin.disconnect()
    await bench[Symbol.asyncDispose]()
  })

  const settings = (prefix: string): KafkaConfig =>
    kafkaSettings(bench, prefix, {
      brokers: bench.kafka.brokers.map((broker) => `127.0.0.1:${broker.secondPort}`),
      sasl: { mechanism: 'plain', username: 'tidemark', password: PASSWORD },
    })

  test('with what the README lists everything works, and doctor finds nothing', async () => {
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id int PRIMARY KEY, v text)' })
    await backup.init()
    await backup.up({ kafka: settings('rules-all') })
    await backup.source.query(`INSERT INTO m SELECT g, 'x' FROM generate_series(1, 100) g`)
    await backup.durable(120_000)
    expect((await examineLog({ kafka: settings('rules-all') })).map(({ code }) => code)).toEqual([
      'KAFKA_REPLICATION',
    ])
    await backup.stop()
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  })

  test('a login that may make no topics uses those that are there', async () => {
    const prefix = 'rules-made'
    await admin.createAcls({
      acl: [rule(resource.TOPIC, prefix, operation.CREATE, { isDenied: true, isPrefix: true })],
    })
    await admin.createTopics({
      topics: [
        ...['transactions', 'board'].map((name) => ({ topic: `${prefix}.${name}`, numPartitions: 1 })),
        ...['lanes', 'public.m', 'tidemark.ddl'].map((name) => ({
          topic: `${prefix}.${name}`,
          numPartitions: 3,
        })),
      ],
    })
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id int PRIMARY KEY, v text)' })
    await backup.init()
    await backup.up({ kafka: settings(prefix) })
    await backup.source.query(`INSERT INTO m SELECT g, 'x' FROM generate_series(1, 100) g`)
    await backup.durable(120_000)
    await backup.stop()
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  })

  test.each([
    [
      'Create',
      'topic',
      resource.TOPIC,
      operation.CREATE,
      'transactions',
      /Create topic rules-\w+\.transactions/,
    ],
    [
      'Write',
      'transactions',
      resource.TOPIC,
      operation.WRITE,
      'transactions',
      /Write topic rules-\w+\.transactions/,
    ],
    [
      'Read',
      'transactions',
      resource.TOPIC,
      operation.READ,
      'transactions',
      /Read topic rules-\w+\.transactions/,
    ],
    [
      'Describe',
      'transactions',
      resource.TOPIC,
      operation.DESCRIBE,
      'transactions',
      /rules-\w+\.transactions/,
    ],
    ['Write', 'a table', resource.TOPIC, operation.WRITE, 'public.m', /Write topic rules-\w+\.public\.m/],
    ['Read', 'a table', resource.TOPIC, operation.READ, 'public.m', /Read topic rules-\w+\.public\.m/],
    [
      'Write',
      'id',
      resource.TRANSACTIONAL_ID,
      operation.WRITE,
      '*',
      /rules-\w+\.replicator\.\w+.*Write the transactional id/,
    ],
  ] as const)(
    '%s on %s is missing: said so',
    { timeout: 240_000 },
    async (what, on, type, denied, name, says) => {
      const prefix = `rules-no${what}${on.replaceAll(' ', '')}`
      await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id int PRIMARY KEY, v text)' })
      await backup.init()
      await admin.createAcls({
        acl: [
          name === '*'
            ? rule(type, prefix, denied, { isDenied: true, isPrefix: true })
            : rule(type, `${prefix}.${name}`, denied, { isDenied: true }),
        ],
      })
      const refused = await refusal(backup, settings(prefix))
      expect(refused.code, refused.message).toBe('LOG_REFUSED')
      expect(refused.message).toMatch(says)
      expect(refused.next).toMatch(/grant the login/)
      expect(`${refused.message} ${refused.next}`).not.toContain(PASSWORD)
    },
  )

  /** What ends `up`, whether at once or with the first rows. */
  async function refusal(backup: Backup, kafka: KafkaConfig): Promise<TidemarkError> {
    try {
      await backup.up({ kafka })
      await backup.source.query(`INSERT INTO m VALUES (1, 'x')`)
      await backup.durable(120_000)
    } catch (error) {
      return asTidemarkError(error)
    }
    throw new Error('it was not refused')
  }

  test('a group that the login may not join is named', { timeout: 240_000 }, async () => {
    const prefix = 'rules-nogroup'
    await admin.createAcls({
      acl: [rule(resource.GROUP, prefix, operation.READ, { isDenied: true, isPrefix: true })],
    })
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id int PRIMARY KEY, v text)' })
    await backup.init()
    const kafka = settings(prefix)
    await expect(backup.up({ kafka, role: 'compactor' })).rejects.toMatchObject({
      code: 'LOG_REFUSED',
      message: expect.stringMatching(/the group rules-nogroup\.compactors\.\w+: .* Read the group/) as string,
    })
  })
})
