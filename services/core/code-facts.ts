/** What is said of every code of an error. */
export type Retry = 'again' | 'person'

export interface CodeFacts {
  /** Process exit code; stable, part of the command line's contract. */
  readonly exit: number
  /** `again`: an outage, the loop tries again. `person`: nothing changes until somebody acts. */
  readonly retry: Retry
  readonly means: string
  readonly next: string
}

export const KEPT =
  'Everything that the ledger names is still there; nothing was acknowledged that is not durable.'
