/**
 * tidemark.yaml: validated once, normalised once. After this no setting is optional and no unit is text.
 * schemas/config.schema.json is made from the same schema.
 */
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { TidemarkError } from '../../core/errors.ts'
import type { KafkaClients } from '../../adapters/kafka/client/settings.ts'
import type { Finding } from '../../core/finding.ts'
import type { Subjects } from '../../core/relation.ts'
import { duration, maybe, size, SIZES, UNITS } from './measured.ts'
import { faultPlace, fileText, secretText, settingsText } from './settings-file.ts'
import { LARGEST_ROW, type SourceSettings, sourceFields, sourceSettings } from './source-settings.ts'

const largestRow = maybe(SIZES, '1MiB', '1GiB', LARGEST_ROW, 'a size such as 512MiB')
const secret = { url: z.string().min(1).optional(), urlFile: z.string().min(1).optional() }

export const kafkaSettings = z.strictObject({
  brokers: z.array(z.string().regex(/^[^\s:/]+:\d{1,5}$/, 'host:port')).min(1),
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,60}$/)
    .default('tidemark')
    .meta({ description: 'topics are PREFIX.SCHEMA.TABLE and PREFIX.transactions' }),
  partitions: z
    .int()
    .min(1)
    .max(256)
    .default(4)
    .meta({ description: 'of every table topic: the lanes; cannot be changed later under the same prefix' }),
  replicationFactor: z.int().min(1).max(7).default(3),
  acknowledge: z.enum(['segment', 'log']).default('segment').meta({
    description:
      'what the source is acknowledged with: segment, what is in the store, so that losing Kafka loses nothing; or log, what all in-sync replicas of Kafka have: the source keeps less WAL, and what Kafka loses before it is stored becomes a gap',
  }),
  tombstones: z.boolean().default(false).meta({
    description:
      'a record without a value behind every delete of a table with a key, for consumers that keep the latest value of each key',
  }),
  registry: z.strictObject({
    url: z.url(),
    user: z.string().optional(),
    passwordFile: z.string().optional(),
  }),
  tls: z.strictObject({ caFile: z.string().optional() }).optional(),
  sasl: z
    .discriminatedUnion('mechanism', [
      z.strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        user: z.string(),
        passwordFile: z.string(),
      }),
      z.strictObject({
        mechanism: z.literal('oauthbearer'),
        tokenUrl: z.url().meta({
          description: 'of the token server (client credentials grant); https, or http on this machine',
        }),
        clientId: z.string(),
        clientSecretFile: z.string(),
        scope: z.string().optional(),
      }),
    ])
    .optional(),
})

const KEEP =
  'how far back this store goes, where that is less than the backup: what is older is taken away by `tidemark prune` once another store has it; 1h to 3650d'

const copySettings = z.strictObject({
  url: z.string().min(1),
  role: z
    .enum(['local', 'remote', 'archive'])
    .default('remote')
    .meta({ description: 'restores read local stores first, archives last' }),
  mode: z.enum(['synchronous', 'mirrored']).default('mirrored').meta({
    description:
      'synchronous: nothing counts as durable before this copy has it, so a copy that is down holds up the acknowledgement; mirrored: filled behind the primary store, and catches up by itself',
  }),
  bandwidth: size('64KiB', '10GiB', '10GiB').meta({ description: 'a second, for filling a mirrored copy' }),
  keep: maybe(UNITS, '1h', '3650d', KEEP, 'a time such as 30d'),
})

const tableSettings = z.strictObject({
  subjects: z.record(z.string(), z.string()).default({}).meta({
    description:
      'columns with personal data: column to the column of the same table that tells whose it is (itself, for instance). Stands in every schema, for erasure and masking',
  }),
  partitionBy: z.array(z.string()).min(1).optional().meta({
    description:
      'with Kafka: the columns whose values choose the partition, so that rows of several tables that belong together (a conversation) share one; they have to be in the replica identity. The identity where it is not given',
  }),
})

const HTTP_PORT = z.int().min(0).max(65535)

export const configFile = z.strictObject({
  version: z.literal(1),
  source: z.strictObject({ ...secret, ...sourceFields, largestRow }),
  store: z
    .strictObject({
      url: z.string().min(1),
      role: z.enum(['local', 'remote', 'archive']).default('local'),
      keep: maybe(UNITS, '1h', '3650d', KEEP, 'a time such as 30d'),
    })
    .meta({ description: 'the primary store: it decides the order' }),
  copies: z.array(copySettings).default([]).meta({ description: 'other stores with the same backup' }),
  retention: z
    .strictObject({
      keep: duration('1h', '3650d', '90d').meta({
        description:
          'every point of this last time can be restored; what is older goes with `tidemark prune`. 1h to 3650d, default 90d',
      }),
      bases: z
        .int()
        .min(1)
        .max(1000)
        .default(2)
        .meta({ description: 'at least so many finished bases stay, however old' }),
      grace: duration('1h', '90d', '7d').meta({
        description:
          'between retiring and removing: so long it can be undone, and a restore that began before goes on. 1h to 90d, default 7d',
      }),
    })
    .optional()
    .meta({ description: 'without it nothing is ever taken away' }),
  scrub: z
    .strictObject({
      days: z.int().min(0).max(365).default(30).meta({
        description:
          'every object of every store is looked at within so many days, a share each day; 0 for never',
      }),
    })
    .prefault({}),
  keys: z.string().min(1).default('keys'),
  anchors: z.array(z.string().min(1)).default([]).meta({
    description:
      "stores other than the backup's, where the head of the ledger is anchored: whoever rolls the backup back would have to do it there too",
  }),
  roll: z
    .strictObject({ age: duration('100ms', '10min', '5s'), size: size('64KiB', '60MiB', '32MiB') })
    .prefault({}),
  http: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: HTTP_PORT.default(8471).meta({ description: 'of up and replicator; 0: one that is free' }),
      compactorPort: HTTP_PORT.default(8472).meta({
        description: 'of compactor, so that both halves on one machine share this file; 0: one that is free',
      }),
    })
    .prefault({}),
  log: z
    .enum(['direct', 'kafka'])
    .default('direct')
    .meta({ description: 'the change log: direct (in one process, the WAL is the buffer) or kafka' }),
  kafka: kafkaSettings.optional(),
  tables: z
    .record(z.string().regex(/^[^.]+\..+$/, 'schema.table'), tableSettings)
    .default({})
    .meta({ description: 'settings by schema.table' }),
  logging: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
})

export type StoreRole = 'local' | 'remote' | 'archive'

export interface CopyPlace {
  readonly url: string
  readonly role: StoreRole
  readonly mode: 'synchronous' | 'mirrored'
  /** Bytes a second. */
  readonly bandwidth: number | undefined
  /** How far back it goes, ms; undefined for as far as the backup. */
  readonly keep?: number | undefined
}

export type KafkaLogin =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | {
      readonly mechanism: 'oauthbearer'
      readonly tokenUrl: string
      readonly clientId: string
      readonly clientSecret: string
      readonly scope: string | undefined
    }

export interface KafkaConfig {
  readonly brokers: readonly string[]
  readonly prefix: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly acknowledge: 'segment' | 'log'
  readonly tombstones: boolean
  readonly partitionBy: ReadonlyMap<string, readonly string[]>
  readonly registry: {
    readonly url: string
    readonly user: string | undefined
    readonly password: string | undefined
  }
  readonly tls: { readonly ca: string | undefined } | undefined
  readonly sasl: KafkaLogin | undefined
  /** Never from the file: a broker in memory, as tests have it. */
  readonly clients?: KafkaClients
}

export interface Config {
  readonly path: string
  readonly source: SourceSettings
  readonly storeUrl: string
  readonly storeRole?: StoreRole
  readonly storeKeepMs?: number | undefined
  readonly retention?:
    | { readonly keepMs: number; readonly bases: number; readonly graceMs: number }
    | undefined
  /** What is wrong with it, where it is not understood: nothing may be taken away by it. */
  readonly retentionFault?: string | undefined
  /** 0 for never. */
  readonly scrubDays?: number
  readonly copies?: readonly CopyPlace[]
  readonly keys: string
  readonly anchors?: readonly string[]
  readonly roll: { readonly ageMs: number; readonly segmentBytes: number }
  readonly http: { readonly host: string; readonly port: number; readonly compactorPort: number }
  /** Undefined for the direct change log. */
  readonly kafka?: KafkaConfig | undefined
  readonly subjects?: Subjects
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
}

export const CONFIG_NAME = 'tidemark.yaml'

/** @throws TidemarkError CONFIG_MISSING, CONFIG_INVALID (names every wrong setting) */
/** @throws TidemarkError CONFIG_MISSING, CONFIG_INVALID */
export function readConfig(path: string = CONFIG_NAME): Config {
  return parseConfig(settingsText(path), resolve(path))
}

export function parseConfig(text: string, path: string): Config {
  let raw: unknown
  try {
    raw = parse(text)
  } catch (error) {
    throw new TidemarkError('CONFIG_INVALID', `${path} is not YAML${faultPlace(error)}`, { cause: error })
  }
  let parsed = configFile.safeParse(raw)
  let retentionFault: string | undefined
  if (parsed.error?.issues.every(({ path: [section] }) => section === 'retention') === true) {
    // What takes away is not to be tried with it; nothing else, and no restore at night, waits for a digit there.
    retentionFault = faultsOf(parsed.error)
    parsed = configFile.safeParse({ ...(raw as object), retention: undefined })
  }
  if (!parsed.success) throw new TidemarkError('CONFIG_INVALID', `${path}: ${faultsOf(parsed.error)}`)
  const folder = dirname(path)
  const { source, store, copies, retention, scrub, keys, anchors, roll, http, log, kafka, logging, tables } =
    parsed.data
  if ((log === 'kafka') !== (kafka !== undefined))
    throw new TidemarkError('CONFIG_INVALID', `${path}: log: kafka and the section kafka belong together`)
  if (store.keep !== undefined && copies.every((copy) => copy.keep !== undefined))
    throw new TidemarkError(
      'CONFIG_INVALID',
      `${path}: keep: one store has to keep everything, so one of them is without`,
    )
  return {
    path,
    source: sourceSettings(source, secretText(source, folder, 'source')),
    storeUrl: store.url,
    storeRole: store.role,
    storeKeepMs: store.keep,
    retention:
      retention === undefined
        ? undefined
        : { keepMs: retention.keep, bases: retention.bases, graceMs: retention.grace },
    retentionFault,
    scrubDays: scrub.days,
    copies,
    keys: isAbsolute(keys) ? keys : join(folder, keys),
    anchors,
    roll: { ageMs: roll.age, segmentBytes: roll.size },
    http,
    kafka: kafka === undefined ? undefined : kafkaConfig(kafka, tables, folder),
    subjects: new Map(Object.entries(tables).map(([name, table]) => [name, table.subjects])),
    logLevel: logging.level,
  }
}

export function retentionFinding({ path, retentionFault }: Config): Finding | undefined {
  return retentionFault === undefined
    ? undefined
    : {
        level: 'warn',
        code: 'RETENTION_INVALID',
        what: `${path}: ${retentionFault}; nothing is taken away`,
        fix: 'correct retention: in tidemark.yaml',
      }
}

function faultsOf(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const where = issue.path.join('.')
      return issue.code === 'unrecognized_keys'
        ? `unknown setting ${issue.keys.map((key) => (where === '' ? key : `${where}.${key}`)).join(', ')}`
        : `${where === '' ? 'the file' : where}: ${issue.message}`
    })
    .join('; ')
}

export function kafkaConfig(
  kafka: z.infer<typeof kafkaSettings>,
  tables: Readonly<Record<string, z.infer<typeof tableSettings>>>,
  folder: string,
): KafkaConfig {
  const { registry, tls, sasl } = kafka
  return {
    brokers: kafka.brokers,
    prefix: kafka.prefix,
    partitions: kafka.partitions,
    replicationFactor: kafka.replicationFactor,
    acknowledge: kafka.acknowledge,
    tombstones: kafka.tombstones,
    partitionBy: new Map(
      Object.entries(tables).flatMap(([name, table]) =>
        table.partitionBy === undefined ? [] : [[name, table.partitionBy]],
      ),
    ),
    registry: {
      url: registry.url,
      user: registry.user,
      password:
        registry.passwordFile === undefined
          ? undefined
          : fileText(registry.passwordFile, folder, 'kafka.registry.passwordFile'),
    },
    tls:
      tls === undefined
        ? undefined
        : { ca: tls.caFile === undefined ? undefined : fileText(tls.caFile, folder, 'kafka.tls.caFile') },
    sasl: sasl === undefined ? undefined : kafkaLogin(sasl, folder),
  }
}

function kafkaLogin(sasl: NonNullable<z.infer<typeof kafkaSettings>['sasl']>, folder: string): KafkaLogin {
  if (sasl.mechanism !== 'oauthbearer')
    return {
      mechanism: sasl.mechanism,
      username: sasl.user,
      password: fileText(sasl.passwordFile, folder, 'kafka.sasl.passwordFile'),
    }
  const { mechanism, tokenUrl, clientId, scope } = sasl
  return {
    mechanism,
    tokenUrl,
    clientId,
    scope,
    clientSecret: fileText(sasl.clientSecretFile, folder, 'kafka.sasl.clientSecretFile'),
  }
}
