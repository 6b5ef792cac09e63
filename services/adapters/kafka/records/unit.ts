/**
 * A unit: what one Kafka transaction holds. Its record in `<prefix>.transactions` is the *progress* of the log: which
 * transactions the unit brings, whole or in part, which control records stand between them, and up to which number and
 * offset it wrote each topic-partition. Records carry their unit's id, so that nothing else can be taken for them.
 */
import avro from 'avsc'
import { TidemarkError } from '../../../core/errors.ts'

export interface UnitTransaction {
  readonly kind: 'transaction'
  readonly lsn: string
  readonly xid: number
  readonly committedAt: bigint
  readonly timeline: number
  /** Ordinals [first, first + count) are in this unit. */
  readonly first: number
  readonly count: number
  /** Set where the transaction ends in this unit. */
  readonly end: string | null
  /** The engine's own words for `end`, where it needs them. */
  readonly resume: string | null
}

export type UnitEntry = UnitTransaction | { readonly kind: 'control'; readonly json: string }

export interface UnitPartition {
  readonly topic: string
  readonly partition: number
  /** The dense number of the last record. */
  readonly number: number
  /** Its offset. */
  readonly offset: bigint
  /** Offset of the unit's first record there; the last one's where the unit has none. */
  readonly first: bigint
  /** How many of the unit's records it has. */
  readonly records: number
}

export interface Unit {
  readonly generation: number
  readonly term: number
  /** Unique in a term; a unit that is sent again after a failure has a new one. */
  readonly unit: number
  readonly entries: readonly UnitEntry[]
  /** Topic-partitions that the unit wrote; all of them where `full`. */
  readonly partitions: readonly UnitPartition[]
  readonly full: boolean
  /** Of its records, about: who shares out the work wants to know. */
  readonly bytes: number
  /** Positions of its transactions that change the schema. */
  readonly ddl: readonly string[]
  /** The unit before it in the log, as `unitName` says; empty for the first. */
  readonly previous: string
  /** Whose backup it is of; empty in units of older versions. */
  readonly stream: string
}

export function unitName(unit: { readonly term: number; readonly unit: number }): string {
  return `${unit.term}.${unit.unit}`
}

const POSITION = { type: 'string', doc: 'a WAL location as PostgreSQL writes it, e.g. 16/B374D848' }

export const UNIT_SCHEMA = {
  type: 'record',
  name: 'tidemark.Unit',
  fields: [
    { name: 'generation', type: 'int' },
    { name: 'term', type: 'int' },
    { name: 'unit', type: 'long' },
    {
      name: 'entries',
      type: {
        type: 'array',
        items: [
          {
            type: 'record',
            name: 'tidemark.UnitTransaction',
            fields: [
              { name: 'lsn', type: POSITION.type, doc: POSITION.doc },
              { name: 'xid', type: 'long' },
              { name: 'committedAt', type: { type: 'long', logicalType: 'timestamp-micros' } },
              { name: 'timeline', type: 'int' },
              { name: 'first', type: 'long' },
              { name: 'count', type: 'long' },
              { name: 'end', type: ['null', 'string'] },
              { name: 'resume', type: ['null', 'string'], default: null },
            ],
          },
          { type: 'record', name: 'tidemark.UnitControl', fields: [{ name: 'json', type: 'string' }] },
        ],
      },
    },
    {
      name: 'partitions',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'tidemark.UnitPartition',
          fields: [
            { name: 'topic', type: 'string' },
            { name: 'partition', type: 'int' },
            { name: 'number', type: 'long' },
            { name: 'offset', type: 'long' },
            { name: 'first', type: 'long', default: 0 },
            { name: 'records', type: 'int', default: 0 },
          ],
        },
      },
    },
    { name: 'full', type: 'boolean' },
    { name: 'bytes', type: 'long', default: 0 },
    { name: 'ddl', type: { type: 'array', items: 'string' }, default: [] },
    { name: 'previous', type: 'string', default: '' },
    { name: 'stream', type: 'string', default: '', doc: "the backup's id" },
  ],
} as const

const typeOf = (schema: unknown): avro.Type =>
  avro.Type.forSchema(schema as avro.Schema, { wrapUnions: true })
const TYPE = typeOf(UNIT_SCHEMA)
/** What stands in the place of a shape in the stamp of a unit's own record: which schema wrote it. */
export const UNIT_FORMAT = '3'
/** Units are decoded by the schema that they were written by; it never depends on a registry that may have lost it. */
const WRITERS: ReadonlyMap<string, avro.Type> = new Map([
  ['-', typeOf(without(['stream', 'resume']))],
  ['2', typeOf(without(['resume']))],
  [UNIT_FORMAT, TYPE],
])

/** As it was before it had fields of these names, at whatever depth. */
function without(names: readonly string[]): unknown {
  return JSON.parse(JSON.stringify(UNIT_SCHEMA), (_, value: unknown) =>
    Array.isArray(value)
      ? value.filter((field: { readonly name?: string }) => !names.includes(field.name ?? ''))
      : value,
  )
}

export function encodeUnit(unit: Unit): Buffer {
  return TYPE.toBuffer({
    ...unit,
    entries: unit.entries.map((entry) =>
      entry.kind === 'control'
        ? { 'tidemark.UnitControl': { json: entry.json } }
        : {
            'tidemark.UnitTransaction': {
              ...entry,
              committedAt: Number(entry.committedAt),
              end: entry.end === null ? null : { string: entry.end },
              resume: entry.resume === null ? null : { string: entry.resume },
            },
          },
    ),
    partitions: unit.partitions.map((p) => ({ ...p, offset: Number(p.offset), first: Number(p.first) })),
  })
}

/** @param stamp of the unit's record @throws TidemarkError LOG_UNKNOWN where the bytes are no unit that this version knows */
export function decodeUnit(bytes: Buffer, stamp: Buffer | undefined): Unit {
  const writer = WRITERS.get(parseStamp(stamp)?.shape ?? '')
  if (writer === undefined)
    throw new TidemarkError('LOG_UNKNOWN', 'a unit of a format that this version does not know')
  try {
    const raw = writer.fromBuffer(bytes) as {
      generation: number
      term: number
      unit: number
      entries: (
        | { 'tidemark.UnitControl': { json: string } }
        | {
            'tidemark.UnitTransaction': Omit<UnitTransaction, 'kind' | 'end' | 'resume' | 'committedAt'> & {
              committedAt: number
              end: { string: string } | null
              resume?: { string: string } | null
            }
          }
      )[]
      partitions: {
        topic: string
        partition: number
        number: number
        offset: number
        first: number
        records: number
      }[]
      full: boolean
      bytes: number
      ddl: string[]
      previous: string
      stream?: string
    }
    return {
      generation: raw.generation,
      term: raw.term,
      unit: raw.unit,
      full: raw.full,
      bytes: raw.bytes,
      ddl: raw.ddl,
      previous: raw.previous,
      stream: raw.stream ?? '',
      partitions: raw.partitions.map((p) => ({
        topic: p.topic,
        partition: p.partition,
        number: p.number,
        offset: BigInt(p.offset),
        first: BigInt(p.first),
        records: p.records,
      })),
      entries: raw.entries.map((entry): UnitEntry => {
        if ('tidemark.UnitControl' in entry)
          return { kind: 'control', json: entry['tidemark.UnitControl'].json }
        const t = entry['tidemark.UnitTransaction']
        return {
          kind: 'transaction',
          lsn: t.lsn,
          xid: t.xid,
          committedAt: BigInt(t.committedAt),
          timeline: t.timeline,
          first: t.first,
          count: t.count,
          end: t.end?.string ?? null,
          resume: t.resume?.string ?? null,
        }
      }),
    }
  } catch (error) {
    throw new TidemarkError(
      'LOG_UNKNOWN',
      'a record in the topic of transactions that carries our header and is no unit of this version',
      { cause: error },
    )
  }
}

/**
 * The header of every record: generation, term, unit, dense number in its topic-partition, the id of its change's shape
 * (a registry that lost its schemas gives ids out again), and what is special about it: `l` a link, `t` a tombstone, `p1/3` the second of
 * three pieces of a change that is too large for one record.
 */
export const HEADER = 'tidemark'
/** Of every record too: whose backup it is of, in short. Records of older versions have none. */
export const STREAM_HEADER = 'stream'

/** Of every record of a change: when its transaction committed, in microseconds since 1970 by the source's clock. */
export const COMMITTED_HEADER = 'committed'

/** Sixteen digits of the stream's id: enough to tell backups apart. */
export function streamMark(stream: string): string {
  return stream.replaceAll('-', '').slice(0, 16)
}

/** Whether a unit belongs to the backup: by its id, or without one from before units had it. @param idsFrom where units begin to have it */
export function isOurs(
  unit: Unit,
  offset: bigint,
  ours: { readonly stream: string; readonly idsFrom: bigint | undefined },
): boolean {
  if (unit.stream !== '') return unit.stream === ours.stream
  return ours.idsFrom === undefined || offset < ours.idsFrom
}

export interface RecordStamp {
  readonly generation: number
  readonly term: number
  readonly unit: number
  readonly number: number
  readonly shape: string
  readonly isLink: boolean
  readonly isTombstone: boolean
  /** Index of the piece and how many there are; 0 of 1 for a whole change. */
  readonly piece: number
  readonly pieces: number
  /** What a newer version says of the record: who does not know it must not take the record for a change. */
  readonly unknown: string | undefined
}

export interface RecordKind {
  readonly isLink: boolean
  readonly isTombstone: boolean
  readonly piece: number
  readonly pieces: number
}

export function stampText(
  generation: number,
  term: number,
  unit: number,
  number: number,
  shape: string,
  kind: RecordKind,
): string {
  const special = `${kind.isLink ? '.l' : ''}${kind.isTombstone ? '.t' : ''}${kind.pieces > 1 ? `.p${kind.piece}/${kind.pieces}` : ''}`
  return `${generation}.${term}.${unit}.${number}.${shape}${special}`
}

export function parseStamp(header: Buffer | undefined): RecordStamp | undefined {
  const [generation, term, unit, number, shape, ...special] = (header?.toString('latin1') ?? '').split('.')
  const values = [generation, term, unit, number].map(Number)
  if (shape === undefined || values.some((value) => !Number.isSafeInteger(value))) return undefined
  return {
    generation: values[0]!,
    term: values[1]!,
    unit: values[2]!,
    number: values[3]!,
    shape,
    isLink: special.includes('l'),
    isTombstone: special.includes('t'),
    ...pieceOf(special.at(-1)),
    unknown: special.find((mark) => !KNOWN_MARK.test(mark))?.slice(0, 40),
  }
}

const KNOWN_MARK = /^(l|t|p\d{1,6}\/\d{1,6})$/

function pieceOf(text: string | undefined): { readonly piece: number; readonly pieces: number } {
  const [, piece, pieces] = /^p(\d{1,6})\/(\d{1,6})$/.exec(text ?? '') ?? []
  return piece === undefined ? { piece: 0, pieces: 1 } : { piece: Number(piece), pieces: Number(pieces) }
}
