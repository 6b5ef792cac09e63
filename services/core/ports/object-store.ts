/**
 * ObjectStore: one place for immutable objects.
 *
 * - `putIfAbsent` is atomic and durable: when it resolves with `created` the whole object survives power loss; two
 *   writers of one name have exactly one winner, the other gets `exists`. It never replaces. A crash leaves either the
 *   whole object or nothing under the name.
 * - `get` returns the whole object or the asked range, never less.
 * - `list` yields names in ascending order, but may miss the newest: nothing that decides correctness may rest on it.
 * - `remove` of an absent object is not an error.
 *
 * Errors: STORE_NOT_FOUND (get, size), STORE_FULL, STORE_READ_ONLY, STORE_REFUSED (credentials, certificates, no such bucket),
 * STORE_UNREACHABLE (anything that may pass).
 */
export interface ObjectStore {
  /** For people: where it is, without credentials. */
  readonly place: string
  putIfAbsent(name: string, chunks: readonly Uint8Array[], signal?: AbortSignal): Promise<'created' | 'exists'>
  get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer>
  size(name: string): Promise<number | undefined>
  list(prefix: string): AsyncIterable<string>
  remove(name: string): Promise<void>
  /**
   * What else is known under the name, unproven: the same object in other stores, versions that were overwritten or deleted
   * since. For whoever found that the object itself is missing or wrong.
   */
  alternatives?(name: string): AsyncIterable<Buffer>
  /** Of these, what this very store kept of the object: versions that were overwritten or deleted since, the newest first. */
  versions?(name: string): AsyncIterable<Buffer>
  /** Puts an object back as it should be, where it is missing or wrong. Nothing is lost where that fails. */
  repair?(name: string, bytes: Buffer): Promise<void>
  facts?(): Promise<StoreFacts>
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
