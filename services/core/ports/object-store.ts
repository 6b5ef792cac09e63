/**
 * ObjectStore: one place for immutable objects.
 *
 * - `putIfAbsent` is atomic and durable: when it resolves with `created` the whole object survives power loss; two
 *   writers of one name have exactly one winner, the other gets `exists`. It never replaces. A crash leaves either the
 *   whole object or nothing under the name.
 * - `get` returns the whole object or the asked range, never less.
 * - `list` yields names in ascending order, but may miss the newest: nothing that decides correctness may rest on it.
 * - `remove` of an absent object is not an error. In a store that keeps versions it hides the object, and no more.
 * - `kept` yields everything under a prefix that takes room: in a store with versions each of them, hidden ones too. Like `list` it may
 *   miss the newest. `purge` removes one of them for ever; `locked` where the store refuses that until a later time.
 *
 * Errors: STORE_NOT_FOUND (get, digest), STORE_FULL, STORE_READ_ONLY, STORE_REFUSED (credentials, certificates, no such bucket),
 * STORE_UNREACHABLE (anything that may pass).
 */
import type { Clock } from '../clock.ts'

export interface ObjectStore {
  /** For people: where it is, without credentials. */
  readonly place: string
  putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'>
  get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer>
  /** What `get` would return, by its length and SHA-256 (hex), without keeping it. */
  digest(name: string): Promise<ObjectDigest>
  size(name: string): Promise<number | undefined>
  list(prefix: string): AsyncIterable<string>
  remove(name: string): Promise<void>
  kept(prefix: string): AsyncIterable<KeptObject>
  purge(object: KeptObject): Promise<'purged' | 'locked'>
  /** Where every object is locked against deletion with its put. */
  readonly lock?: StoreLock
  /**
   * What else is known under the name, unproven: the same object in other stores, versions that were overwritten or deleted
   * since. For whoever found that the object itself is missing or wrong.
   */
  alternatives?(name: string): AsyncIterable<Buffer>
  /** Of these, what this very store kept of the object: versions that were overwritten or deleted since, the newest first. */
  versions?(name: string): AsyncIterable<Buffer>
  /** Puts an object back as it should be, where it is missing or wrong. Nothing is lost where that fails. */
  repair?(name: string, bytes: Buffer): Promise<void>
  /**
   * Several creates of one name that nobody had before, as near to one moment as the store's protocol lets. Only where a service in
   * between decides who wins; elsewhere `putIfAbsent`s at once are as near.
   */
  race?(name: string, bodies: readonly Buffer[]): Promise<readonly RaceOutcome[]>
  facts?(): Promise<StoreFacts>
  /** Takes away what is left of uploads that never ended, once none can still go on; how many. Only where a store keeps such. */
  sweep?(clock: Clock): Promise<number>
}

/** `failed`: an answer that does not say who won. */
export type RaceOutcome = 'created' | 'exists' | 'failed'

export interface ObjectDigest {
  readonly bytes: number
  readonly sha256: string
}

/** One object, or one version of it, as it takes room in a store. */
export interface KeptObject {
  readonly name: string
  /** When it was written, by the store's clock: ms since 1970. */
  readonly at: number
  readonly bytes: number
  /** In a store with versions. */
  readonly version: string | undefined
}

/** Locks of single objects against deletion and change (S3: object lock). An object that is gone is not an error. */
export interface StoreLock {
  readonly mode: 'governance' | 'compliance'
  /** From the put on, ms. */
  readonly forMs: number
  /** Until a later time than before; never an earlier one. */
  extend(name: string, until: number): Promise<void>
  /** Whatever the time: until it is taken back. */
  hold(name: string, on: boolean): Promise<void>
}

/** What is asked of a store before it is relied on. */
export interface StoreFacts {
  /** Whether what is overwritten or deleted is kept as an older version. */
  readonly versioning: boolean
  /** Whether objects can be locked against deletion. */
  readonly objectLock: boolean
  /** The store's clock, in ms since 1970; undefined where it has none of its own. */
  readonly now: number | undefined
}

/** `a/b-c.d`: segments of [A-Za-z0-9._-], none of them `.` or `..`, so that no name can leave a folder (hazard 123). */
const OBJECT_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/

export function isObjectName(name: string): boolean {
  return name.length <= 512 && OBJECT_NAME.test(name)
}
