/** What an examination found: each with what it means and its fix. `refuse` stops init and up; `warn` is said. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'refuse'
  readonly code: string
  readonly what: string
  readonly fix: string
  /** While a job runs, its stream tells of this by itself. */
  readonly isOfStream?: true
}
