/**
 * CutBoard: where compactors of one change log share the building of cuts. One of them leads: it decides the cuts, posts
 * orders and writes the ledger; all of them, it too, build what is ordered in their lanes and post answers.
 *
 * - `join` becomes a member. The listener hears, now and after every change, whether this member leads and which lanes are
 *   its own. Every lane has one member and one member leads as soon as things are quiet; while members come and go two may
 *   believe to have the same: a cut may be built twice, and who truly leads is decided by the ledger's claim.
 * - A member that is gone without a word is noticed within seconds, and what it had goes to others.
 * - `posts` yields what is posted, in one order for all members, beginning some way back, so that a new member sees what is
 *   pending. At least once.
 * - What is posted is opaque here; who reads it proves who wrote it.
 *
 * Errors: LOG_UNREACHABLE (may pass), LOG_REFUSED, LOG_HOLE.
 */
export interface CutRole {
  readonly leads: boolean
  readonly lanes: readonly number[]
}

export interface CutBoard {
  /** How many lanes there are: members beyond that have nothing to do. */
  readonly lanes: number
  join(listener: (role: CutRole) => void): Promise<void>
  post(body: Buffer): Promise<void>
  posts(signal: AbortSignal): AsyncIterable<Buffer>
  /** Rejects when the membership cannot be kept; never resolves. */
  readonly failed: Promise<never>
  close(): Promise<void>
}
