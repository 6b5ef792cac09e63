/**
 * SourceAdmin: what is asked of a source, and done to it, beside its stream: before there is one, and from time to time.
 *
 * - Each call has connections of its own and leaves none; none stands in the way of a stream that is read meanwhile.
 * - What it changes it changes whole, or not at all.
 *
 * Errors: SOURCE_UNREACHABLE (try again), and the codes that a method names.
 */
import type { Finding } from '../finding.ts'
import type { Position } from '../position.ts'
import type { SchemaFacts, SchemaStatement } from '../transaction.ts'
import type { SlotState, SourceIdentity } from './source.ts'

/** What another server has to fit that is to take the source's schema. */
export interface SourceServer {
  readonly systemId: string
  readonly databaseOid: number
  readonly encoding: string
  readonly serverVersion: number
}

export interface SourceSchema {
  readonly statements: readonly SchemaStatement[]
  /** What a backup does not cover, for people. */
  readonly notes: readonly string[]
}

/** From where on the source keeps what the stream will send. */
export interface BegunStream {
  readonly identity: SourceIdentity
  readonly consistentPoint: Position
  /** The first id of a transaction that was not yet given out. */
  readonly firstTransaction: string
  readonly facts: SchemaFacts & { readonly reading: string }
}

export interface SourceLag {
  readonly head: Position
  /** That the source writes now. */
  readonly bytesPerSecond: number
  /** The source's clock: ms since 1970. */
  readonly now: number
  /** What holds the log for us; undefined where it is gone. */
  readonly held: SlotState | undefined
}

/** All tables with rows in a backup, at one position. */
export interface SourceDigests {
  /** Transactions at positions below this are in the digests, all others are not. */
  readonly at: Position
  /** By `schema.name`. */
  readonly tables: ReadonlyMap<string, SourceDigest>
}

export interface SourceDigest {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly rows: string
  readonly digest: string
}

export interface SourceAdmin {
  server(): Promise<SourceServer>
  /** @param partitionBy columns by `schema.table` that choose where a change goes: every change has to carry them */
  examine(partitionBy?: ReadonlyMap<string, readonly string[]>): Promise<readonly Finding[]>
  /** As the catalog has it now. Undefined where nothing of ours is in the source, which its reader asks. */
  schema(): Promise<SourceSchema | undefined>
  /**
   * Makes what keeps the log, in place of what has its name: nothing can rest on that. Waits for the transactions that are open.
   *
   * @param expected refuses another database
   * @throws TidemarkError SOURCE_CHANGED, INSTALLATION_MISSING, PUBLICATION_MISSING
   */
  begin(expected: Pick<SourceServer, 'systemId' | 'databaseOid'> | undefined): Promise<BegunStream>
  /** Puts a marker into the stream. @returns as `isRead` */
  mark(name: string): Promise<boolean>
  /** Whether somebody reads the stream now. @param until asks again and again until then, in ms from now */
  isRead(until: number, signal: AbortSignal): Promise<boolean>
  lag(): Promise<SourceLag>
  /**
   * @param onSnapshot waited for right behind each snapshot, for tests
   * @throws TidemarkError NOT_PROVEN where tables kept being altered; SOURCE_UNSUITABLE
   */
  attest(signal: AbortSignal, onSnapshot?: () => Promise<void>): Promise<SourceDigests>
}
