/** Who asks for an operation, from where, and by which right. The face that is asked says so: nothing below it looks around in its process. */
export interface Actor {
  /** For the audit log. */
  readonly name: string
  /** The face that they asked. */
  readonly face: string
  /** What lets them: so far whoever can read the keys with an account of this machine. */
  readonly right: 'account'
  /** Folders for a trace that the ledger does not take, the first one that can be written. */
  readonly traces: readonly string[]
}
