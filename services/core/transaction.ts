/**
 * What travels from source to change log to compactor: parts of transactions, with their changes already encoded.
 *
 * The transaction is the unit of everything; a part is a piece of one, so that memory stays bounded whatever its size.
 */
import type { Position } from './position.ts'
import type { RelationVersion } from './relation.ts'

export type Operation = 'insert' | 'update' | 'delete' | 'truncate'
export const OPERATIONS: readonly Operation[] = ['insert', 'update', 'delete', 'truncate']

export interface TransactionHead {
  readonly timeline: number
  /** The transaction's place in commit order. */
  readonly position: Position
  /** Unsigned 32 bits, as the stream has it. */
  readonly transactionId: number
  /** Microseconds since 1970-01-01 UTC, as the server stamped the commit. Not monotonic (hazard 112). */
  readonly committedAt: bigint
}

/** A relation version with the Avro record that its changes are encoded by. */
export interface ChangeShape {
  /** Stable over restarts: a hash of oid, names, types, identity and encoding. */
  readonly id: string
  readonly relation: RelationVersion
  /** The Avro record schema of one change, as JSON text; a segment's header carries it. */
  readonly avro: string
}

/** Changes, encoded: row k is bytes[offsets[k], offsets[k + 1]) and belongs to shapes[shapeOf[k]]. */
export interface EncodedChanges {
  readonly bytes: Buffer
  readonly offsets: Uint32Array
  readonly shapeOf: Uint16Array
  readonly shapes: readonly ChangeShape[]
  readonly count: number
  /** The bytes are one large row in a buffer of its own: who takes them last gives it back (core/release.ts). */
  readonly isOwn?: boolean
}

/** Rows per shape and operation in one transaction part. */
export interface ChangeCount {
  readonly shape: ChangeShape
  /** By index in OPERATIONS. */
  readonly rows: readonly [number, number, number, number]
}

export interface TransactionPart {
  readonly kind: 'changes'
  readonly head: TransactionHead
  readonly changes: EncodedChanges
  readonly counts: readonly ChangeCount[]
  /** Set in the last part: where it ends, which may be acknowledged once the transaction is durable. */
  readonly end: Position | undefined
  /** In the last part: the engine's own words for `end`, where it needs them to go on from there. */
  readonly resume?: string | undefined
  /** In the last part: the transaction's DDL records (they are among the changes too). */
  readonly ddl: readonly RecordRow[]
  /** Where a log that keeps its items has it; stands in the ledger, so that a reader starts there. */
  readonly place?: LogPlace
  /** Set where the rows were not read: what they would be. `changes`, `counts` and `ddl` are empty then. */
  readonly outline?: {
    readonly changes: number /** About. */
    readonly bytes: number
    readonly hasDdl: boolean
  }
}

export function encodedBytes(part: TransactionPart): number {
  return part.outline?.bytes ?? part.changes.bytes.length
}

export function changeCount(part: TransactionPart): number {
  return part.outline?.changes ?? part.changes.count
}

export function hasDdl(part: TransactionPart): boolean {
  return part.outline?.hasDdl ?? part.ddl.length > 0
}

export interface LogPlace {
  /** Which log: a cluster's id and what else names it. */
  readonly log: string
  /** Reading starts here to have everything that is needed to go on; */
  readonly from: bigint
  /** what comes before this has been read. */
  readonly at: bigint
  /** What writers with a lower term left there does not count. */
  readonly since: number
  /** What lies at `at`: proves that the log is still the same. Empty where nothing was read yet. */
  readonly unit: string
  /** From here on everything of ours has the stream's id; undefined where older versions may still write. */
  readonly idsFrom: bigint | undefined
}

/** A record of a schema change as its row has it, by column; the engine's dialect reads it. */
export type RecordRow = ReadonlyMap<string, string | null>

/** What only the source knows and that has a place in the stream; travels like a transaction (design: control records). */
export type ControlRecord =
  | (SampledSequences & {
      readonly kind: 'sequences' /** Every schema change up to `at` has its record. */
      readonly checked: boolean
    })
  | {
      readonly kind: 'schema'
      readonly facts: SchemaFacts /** The newest transaction with DDL that the stream had brought when the reading began: it has seen all up to this. */
      readonly covers: Position
    }
  | { readonly kind: 'schema-change'; readonly change: SchemaChange; readonly covers: Position }
  | {
      readonly kind: 'heartbeat'
      readonly at: Position
      /** As of a transaction. */
      readonly resume?: string | undefined
      readonly timeline?: number
      /** Instant by the source's clock: every commit that it stamped up to then lies below `at`. */
      readonly asOf?: string
    }
  | { readonly kind: 'gap'; readonly gap: GapNotice }
  | { readonly kind: 'marker'; readonly at: Position; readonly name: string }

export interface SequenceSample {
  readonly schema: string
  readonly name: string
  /** Absent in older backups. Names change hands: only this tells which sequence it is. */
  readonly oid?: number
  /** Text of the 64-bit value. */
  readonly lastValue: string
  readonly isCalled: boolean
  /** The greatest advance between two samples of the last day, text; absent where none was seen. */
  readonly advance?: string
  /** Since the sample before it began anew or went back: what it had given by then, this does not tell. */
  readonly setBack?: true
}

/** A sequence as the source has it now. */
export interface SequenceReading {
  readonly schema: string
  readonly name: string
  /** Not of every source. */
  readonly oid?: number
  readonly lastValue: string
  readonly isCalled: boolean
  /** Text; negative for a descending sequence. */
  readonly increment: string
  /** Another one after RESTART and TRUNCATE … RESTART IDENTITY; not of every source. */
  readonly file?: string
}

/** What the sequences said after everything up to `at` had been received. */
export interface SampledSequences {
  readonly at: Position
  readonly samples: readonly SequenceSample[]
  /**
   * `full`: every sequence that could be read, called or not; `changes`: those alone that differ from the sample before.
   * Absent in older backups: every sequence that had been called.
   */
  readonly extent?: 'full' | 'changes'
  /** In `changes`: sequences that are no longer there under this name. */
  readonly gone?: readonly Pick<SequenceSample, 'schema' | 'name' | 'oid'>[]
}

/** Two samples, one after the other, as one: what was recorded last counts. */
export function mergeSamples<T extends SampledSequences>(earlier: SampledSequences, later: T): T {
  if (later.extent !== 'changes') return later
  const samples = new Map(earlier.samples.map((sample) => [sequenceKey(sample), sample]))
  const setBack = new Set(earlier.samples.filter((sample) => sample.setBack).map(sequenceIdentity))
  const gone = new Map((earlier.gone ?? []).map((name) => [sequenceKey(name), name]))
  for (const name of later.gone ?? []) {
    samples.delete(sequenceKey(name))
    gone.set(sequenceKey(name), name)
  }
  for (const sample of later.samples) {
    const key = sequenceKey(sample)
    samples.set(key, setBack.has(sequenceIdentity(sample)) ? { ...sample, setBack: true } : sample)
    gone.delete(sequenceKey(sample))
  }
  const { extent: _, ...rest } = later
  return {
    ...(rest as T),
    samples: [...samples.values()],
    gone: [...gone.values()],
    ...(earlier.extent === undefined ? {} : { extent: earlier.extent }),
  }
}

/** Names change hands. */
export function sequenceIdentity(sequence: Pick<SequenceSample, 'schema' | 'name' | 'oid'>): string {
  return sequence.oid === undefined ? sequenceKey(sequence) : String(sequence.oid)
}

export function sequenceKey(sequence: { readonly schema: string; readonly name: string }): string {
  return `${sequence.schema}\0${sequence.name}`
}

/** The catalog as it stood in one snapshot, with the ordered SQL that makes it from nothing. */
export interface SchemaFacts {
  /** Names this reading, for changes that continue it; those of before have none. */
  readonly reading?: string
  /** Tells which DDL transactions the reading has seen (core/snapshot.ts). */
  readonly snapshot: string
  /** Full transaction ids (64 bits, text) of the DDL records that the reading saw. */
  readonly ddlSeen: readonly string[]
  readonly statements: readonly SchemaStatement[]
  /** What could not be read or is not covered, for people. */
  readonly notes: readonly string[]
  /** OIDs that were being changed while they were read: their DDL records say more than this does. */
  readonly unsettled?: readonly number[]
  /** A position, text: it has seen every change that was committed up to there. Older ones do not say it. */
  readonly head?: string
  readonly untold?: UntoldChange
}

/** What a reading found changed that no DDL record tells: it happened somewhere in (from, to]. Positions as text. */
interface UntoldChange {
  readonly from: string
  readonly to: string
  /** For people. */
  readonly objects: readonly string[]
}

/** A list as runs over an older one: [first, count] of what is the same, or what is new. */
export type ListChange<T> = readonly (readonly [number, number] | { readonly new: T })[]

/** A reading of the schema as what changed since another one. */
export interface SchemaChange {
  readonly reading: string
  readonly since: string
  readonly snapshot: string
  /** Those that the reading before had not seen. */
  readonly ddlSeen: readonly string[]
  readonly statements: ListChange<SchemaStatement>
  readonly notes: ListChange<string>
  /** SHA-256 over all statements as they are now. */
  readonly digest: string
  readonly unsettled: readonly number[]
  readonly head?: string | undefined
  readonly untold?: UntoldChange | undefined
}

export interface SchemaStatement {
  readonly sql: string
  readonly phase: 'before' | 'after'
  /** Lower ranks first; equal ranks in the order given. */
  readonly rank: number
  /** What it makes, e.g. {kind: "table", schema, name}; sub-objects name their table. */
  readonly objects: readonly SchemaObject[]
  /** What it is a part of at the source, in the engine's words. In readings, not in older ones. */
  readonly of?: string | undefined
}

export interface SchemaObject {
  readonly kind: string
  readonly schema?: string
  readonly name: string
  readonly table?: string
}

type GapScope =
  | { readonly kind: 'stream' }
  | { readonly kind: 'table'; readonly oid: number; readonly schema: string; readonly name: string }

export interface GapNotice {
  readonly id: string
  readonly from: Position
  readonly reason: string
  readonly scope: GapScope
}

export type LogItem = TransactionPart | ControlRecord

/** Bytes that an item holds, for the queues' limits. */
export function bytesOf(item: LogItem): number {
  if (item.kind === 'changes') return item.changes.bytes.length + 200
  if (item.kind === 'schema') return 500 + item.facts.statements.reduce((sum, s) => sum + s.sql.length, 0)
  return 500
}
