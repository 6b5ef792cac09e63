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
import type { HeldLog, SourceIdentity, SourceOrigin, StoredHistory } from './source.ts'

/** What another server has to fit that is to take the source's schema. */
export interface SourceServer {
  readonly origin: SourceOrigin
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
  /** Its origin has what names the stream as well. */
  readonly identity: SourceIdentity
  readonly consistentPoint: Position
  /** The engine's own words for that place. */
  readonly resume?: string | undefined
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
  readonly held: HeldLog | undefined
}

/** What `install` would do to a source, told before it is done. */
export interface InstallationPlan {
  /** How schema changes are seen: as they are made, or, where the role may not have that, by asking again and again. */
  readonly mode: 'triggers' | 'polling'
  readonly identities: readonly IdentityChange[]
}

/** A table whose rows could not be told apart as they come, and what it would be given for that. */
export interface IdentityChange {
  readonly schema: string
  readonly name: string
  /** What its owner had chosen, in the engine's words. */
  readonly before: string
  /** `left out`: nothing serves, so the table is not backed up until it has a key. */
  readonly after: string
  /** Where what is given is one. */
  readonly index: string | undefined
  /** For people: what would be done, or why nothing serves. */
  readonly text: string
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

/** What the ledger knows of a source. */
export interface ExpectedSource {
  readonly origin: SourceOrigin
  readonly timeline: number
  /** Up to where everything is stored. */
  readonly end: Position
}

export interface SourceAdmin {
  identify(): Promise<SourceIdentity>
  server(): Promise<SourceServer>
  /** @param partitionBy columns by `schema.table` that choose where a change goes: every change has to carry them */
  examine(partitionBy?: ReadonlyMap<string, readonly string[]>): Promise<readonly Finding[]>
  /** As the catalog has it now. Undefined where nothing of ours is in the source, which its reader asks. */
  schema(): Promise<SourceSchema | undefined>
  /** The backup that the source belongs to, where that is not lost; undefined where nothing of ours is there. */
  installed(): Promise<{ readonly stream: string | undefined } | undefined>
  /**
   * Done and taken back, so that nothing is left and nothing is guessed.
   *
   * @param stream the backup
   * @param again where a backup's source lacks all of it: what keeps the log may be there
   * @throws TidemarkError SOURCE_PRIVILEGE, SOURCE_UNSUITABLE
   */
  plan(stream: string, again: boolean): Promise<InstallationPlan>
  /** @throws TidemarkError as `plan` */
  install(stream: string, plan: InstallationPlan, again: boolean): Promise<void>
  /** What a role needs for the stream that is not the one that installed. @throws TidemarkError SOURCE_PRIVILEGE */
  grantTo(role: string): Promise<void>
  /**
   * Brings what is there to what this program needs.
   *
   * @returns the version that was there, and whether what the stream sends was chosen anew: what was written without that is a gap
   * @throws TidemarkError SOURCE_UNSUITABLE, SOURCE_PRIVILEGE, INSTALLATION_NEWER
   */
  upgrade(): Promise<{ readonly from: number; readonly published: boolean }>
  /**
   * Takes out everything that is ours, and gives back what the application's tables had before.
   *
   * @returns the backup that it belonged to, and what is left to an administrator, as statements
   */
  uninstall(): Promise<{ readonly stream: string | undefined; readonly left: readonly string[] }>
  /** Whether what keeps the log is there, or something else of its name. */
  hasStream(): Promise<boolean>
  /**
   * Makes what keeps the log, in place of what has its name: nothing can rest on that. Waits for the transactions that are open.
   *
   * @param expected refuses another database
   * @throws TidemarkError SOURCE_CHANGED, INSTALLATION_MISSING, PUBLICATION_MISSING
   */
  begin(expected: SourceOrigin | undefined): Promise<BegunStream>
  /**
   * Whether the source is the backup's, and can go on from where that ends. It may be streaming at the same time.
   *
   * @param expected read behind what keeps the log: what a running job lets it confirm is in the ledger before
   * @param stored the history from a position on: given, what is sent once more is compared with it, where nobody else reads it
   * @throws TidemarkError what says that it cannot
   */
  prove(
    expected: () => Promise<ExpectedSource>,
    stored?: (from: Position) => Promise<StoredHistory>,
  ): Promise<void>
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
