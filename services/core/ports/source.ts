/**
 * Source: one database being protected.
 *
 * - `stream` yields whole transactions in commit order, in parts, from the first transaction whose end is after `from.position`
 *   (a transaction that ends at or before it never comes again), and control records in their place. It ends by the
 *   signal or by throwing: SOURCE_UNREACHABLE (try again), SLOT_LOST, SLOT_AHEAD, SLOT_TAKEN, SOURCE_CHANGED and the
 *   other SOURCE_ codes. It never skips: what it cannot decode is thrown, or comes as a gap.
 * - `acknowledge` says that everything up to the position is durable; it never goes back, and nothing else lets the source forget its log.
 * - Values are the server's own text under fixed session settings, the same for stream and base.
 */
import type { TidemarkError } from '../errors.ts'
import { comparePositions, type Position } from '../position.ts'
import type { TableVersion } from '../relation.ts'
import type {
  ChangeShape,
  LogItem,
  SchemaChange,
  SchemaFacts,
  SequenceReading,
  SequenceSample,
} from '../transaction.ts'

/** What only the engine understands: which database it is, and what names its stream. JSON; it stands in the ledger. */
export type SourceOrigin = Readonly<Record<string, string | number>>

export interface SourceIdentity {
  readonly engine: string
  readonly origin: SourceOrigin
  readonly database: string
  /** Which of the source's histories: it grows with each promotion; 1 where the engine counts none. */
  readonly timeline: number
  /** A number that grows with the server's versions; the engine's own. */
  readonly serverVersion: number
  readonly encoding: string
}

/** Where a stream is to go on. */
export interface StreamPoint {
  readonly position: Position
  /** What the engine said beside it: its own words for the same place, if it has any. */
  readonly resume: string | undefined
}

/** For an engine that has no other words for its positions. */
export function startAt(position: Position): StreamPoint {
  return { position, resume: undefined }
}

export function laterPoint(a: StreamPoint, b: StreamPoint): StreamPoint {
  return comparePositions(a.position, b.position) > 0 ? a : b
}

/** What keeps the source's log for us. */
export interface HeldLog {
  readonly name: string
  /** Nothing before or at this comes again. */
  readonly confirmed: Position
  /** Whether somebody reads it now. */
  readonly active: boolean
  /** In the engine's words. */
  readonly state: string
  /** Nothing is kept any more. */
  readonly isLost: boolean
  /** Bytes of log that may still be written before it is lost; undefined without a limit. */
  readonly safeBytes: number | undefined
}

export type TablePartRange = { readonly from: number; readonly to: number | undefined }

export interface SnapshotTable {
  readonly version: TableVersion
  /** The table's facts as stored with the base: JSON. */
  readonly facts: string
  readonly shape: ChangeShape
  /** Estimated rows and bytes, for progress alone. */
  readonly rows: number
  readonly bytes: number
  /** Page ranges of the heap; all of one table belong to one snapshot (two lose rows). */
  readonly parts: readonly TablePartRange[]
}

/**
 * `moved`: the table was rewritten, altered or emptied after the snapshot and needs a newer one; `refused`: it has a row that is too
 * large to be taken.
 */
export type CopyResult =
  | { readonly kind: 'copied'; readonly rows: number }
  | { readonly kind: 'moved' }
  | { readonly kind: 'vanished' }
  | { readonly kind: 'refused'; readonly reason: string }

/** One consistent view of the source at an exact place in its stream. Lives while its connection does. */
export interface Snapshot {
  /** Transactions at positions below this are in it, all others are not. */
  readonly consistentPoint: Position
  readonly tables: readonly SnapshotTable[]
  readonly sequences: readonly SequenceSample[]
  /**
   * Copies one part. `onBlock` gets encoded Row records, in a buffer that is its own from then on; where it returns a promise, reading waits for it. May be called
   * for several parts at once. A failed part may be copied again under the same snapshot.
   */
  copy(
    table: SnapshotTable,
    part: TablePartRange,
    onBlock: (bytes: Buffer, rows: number) => Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<CopyResult>
  close(): Promise<void>
}

/** What the ledger says of its cuts in the clear: enough to know their transactions again when they come once more. */
export interface StoredCut {
  /** Exclusive, and the position of its last transaction. */
  readonly from: Position
  readonly to: Position
  readonly transactions: bigint
  /** Microseconds since 1970. */
  readonly firstCommittedAt: bigint
  readonly lastCommittedAt: bigint
}

export interface StoredHistory {
  /** Every commit above it, and up to `end`, is in one of the cuts. */
  readonly from: Position
  readonly end: Position
  /** In order. */
  readonly cuts: readonly StoredCut[]
}

export interface CatalogRepair {
  /** Undefined where nothing was missing. */
  readonly recorded: string | undefined
  readonly failed: readonly string[]
}

/** What was done so that the application's UPDATE and DELETE work, and the stream says which row they mean. */
export interface IdentityCare {
  /** Transactions with records of it, which come through the stream (full id, text). */
  readonly recorded: readonly string[]
  /** `outcome`: the identity that the table has now, `left out` or `published`, or `locked`: tried again. */
  readonly changes: readonly { readonly table: string; readonly outcome: string }[]
}

/** A table whose changes do not come through the stream. */
export interface LeftOutTable {
  readonly oid: number
  readonly schema: string
  readonly name: string
}

/** The source's clock beside its log. */
export interface SourceMoment {
  /** What was written before the clock was read lies below. */
  readonly at: Position
  /** Microseconds since 1970-01-01 UTC, by the clock that stamps commits. */
  readonly time: bigint
}

/** Open transactions that a snapshot waits for. */
export interface SnapshotBlockers {
  /** Processes of the server. */
  readonly pids: readonly number[]
  /** Names of prepared transactions, which have no process: COMMIT PREPARED or ROLLBACK PREPARED ends them. */
  readonly prepared: readonly string[]
}

export interface Source {
  identify(signal: AbortSignal): Promise<SourceIdentity>
  held(): Promise<HeldLog | undefined>
  /** Who else reads the stream, as the error that it would be. */
  taken(): Promise<TidemarkError | undefined>
  /**
   * Everything that must hold before a byte is read: the same database, no fork, nothing filtered, and what is behind `from` is still kept.
   *
   * @throws TidemarkError what does not hold
   */
  check(from: Position): Promise<unknown>
  stream(from: StreamPoint, signal: AbortSignal): AsyncIterable<LogItem>
  acknowledge(end: Position): void
  /** The newest position of the server. */
  head(): Promise<Position>
  moment(): Promise<SourceMoment>
  /** Asks for a heartbeat record at the next chance. */
  wantHeartbeat(): void
  /** Waits for the transactions that are open now; `onWaiting` names them meanwhile. `only` limits the tables by OID. */
  snapshot(options: {
    readonly only?: ReadonlySet<number>
    readonly signal: AbortSignal
    onWaiting?(blockers: SnapshotBlockers): void
  }): Promise<Snapshot>
  /**
   * The schema as it is now, whole. DDL that goes on meanwhile neither fails it nor holds it up.
   *
   * @param stored the newest reading that is stored, where this is the first of a process: what no record tells since is said
   */
  schema(stored?: { readonly snapshot: string; readonly head: string }): Promise<SchemaFacts>
  /** The same from what the last reading knows, if there was one: not a reading that `schemaSince` goes by. */
  currentSchema(): Promise<SchemaFacts>
  /**
   * What changed in the schema since the reading of that name, if this source gave it last. Undefined otherwise, and where the
   * changes since the last whole reading have grown so much that a whole one is due.
   */
  schemaSince(reading: string): Promise<SchemaChange | undefined>
  /** Whether the schema is another one than the last reading saw, recorded or not. Cheap, and without a lock. */
  isReadingOld(): Promise<boolean>
  /** Every sequence that the role may read, called or not; temporary ones and ours left out. */
  sequences(): Promise<readonly SequenceReading[]>
  /**
   * Compares the catalog with the DDL records. What no record tells is recorded now, with the command REPAIR, and comes
   * through the stream in the transaction `recorded` (full id, text). `failed` names tables that could not be recorded
   * (locked, or not to be altered by this role): until they are, what happens to them is untold.
   */
  repairCatalog(): Promise<CatalogRepair>
  /** Gives tables the replica identity that they need, leaves out those that cannot have one now, and takes them back. */
  tendIdentities(): Promise<IdentityCare>
  /** Tables that the stream leaves out now: a copy of one is of use only once it has them again. */
  leftOut(): Promise<readonly LeftOutTable[]>
  /**
   * Removes DDL records of transactions that committed at or before this: they are durable in the backup. What a reading does
   * not show yet stays: the next one is compared with it.
   *
   * @param reading the snapshot of the newest reading that is durable
   */
  forgetDdl(durable: Position, reading: string): Promise<void>
  close(): Promise<void>
}
