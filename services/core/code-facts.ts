/** What is said of every code of an error. */
export type Retry = 'again' | 'person'

export interface CodeFacts {
  /** Process exit code; stable, part of the command line's contract. */
  readonly exit: number
  /** `again`: an outage, the loop tries again. `person`: nothing changes until somebody acts. */
  readonly retry: Retry
  readonly means: string
  readonly next: string
  /** Of a source's stream: why it cannot go on as it was. */
  readonly stream?: StreamTrouble
}

/**
 * - `lost`: what comes next is gone; the generation ends, and its hole begins where it ends.
 * - `cut`: the same, and what the stream had sent before is whole: it is finished first.
 * - `unseen`: the same as `lost`, and it went unseen since the last look at the source: the hole begins there.
 * - `ahead`: the source was told that more is stored than the ledger has.
 * - `taken`: somebody else reads it.
 * - `absent`: nothing keeps the source's log: it is another database, or was promoted.
 */
export type StreamTrouble = 'lost' | 'cut' | 'unseen' | 'ahead' | 'taken' | 'absent'

export const KEPT =
  'Everything that the ledger names is still there; nothing was acknowledged that is not durable.'
