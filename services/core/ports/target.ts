/**
 * Target: an empty database that a rebuild fills.
 *
 * - `check` refuses what is not empty, is the source, or cannot hold the data (encoding); it changes nothing.
 * - `begin` marks the target as under restore (so that a crashed one is told from a finished one, and the same restore
 *   may run again) and returns the rows of each table that an earlier try has loaded, by `tableKey`.
 * - `run` executes schema statements in the given order; a statement that was already done in an earlier try is passed
 *   over. Different lanes (small numbers) may run at once. Returns what the target refuses, and goes on behind it; only
 *   what concerns the target as a whole (no room, no connection) is thrown.
 * - `load` copies rows into one table: all of them or none; the table counts as loaded from then on. The bytes of a
 *   chunk may change once the second chunk after it is asked for, so that its buffer can be used again. It takes the forms
 *   that the engine's dialect prints, each with what stands in front of the rows and behind them. It throws `RowsRefused` where the table as it was made
 *   does not take its rows. Of a table that an extension made, the rows that are its configuration are put beside its own.
 * - `remember` keeps a text in the target until `finish`, and `remembered` gives all of them in the order given: what a
 *   restore that is run again must know of the tries before it.
 * - `missingTypes` tells which of some types (as format_type() prints them) the target does not have.
 */
import { TidemarkError } from '../errors.ts'
import type { SchemaStatement } from '../transaction.ts'

/** A statement that the target refuses. Its reason is for people, without row values. */
export interface Refusal {
  readonly statement: SchemaStatement
  readonly reason: string
  /** SQLSTATE. */
  readonly state: string
}

/** The table as it was made does not take its rows; it is empty. */
export class RowsRefused extends TidemarkError {
  /** SQLSTATE. */
  readonly state: string
  constructor(message: string, state: string, cause: unknown) {
    super('TARGET_FAILED', message, { cause })
    this.state = state
  }
}

/** A restore that a target holds half of: what was asked for, and what that meant then. */
export interface BegunRestore {
  /** The point as it was typed. */
  readonly asked: string
  /** POSITION@GENERATION. */
  readonly position: string
  /** Of the backup that it comes from. */
  readonly stream: string
  /** The hold in the backup's ledger; undefined where a version began it that did not note it. */
  readonly hold?: string | undefined
}

export interface TableDigest {
  readonly schema: string
  readonly name: string
  readonly rows: bigint
  /** Order-free: sums of two halves of SHA-256 over the rows' text. */
  readonly digest: string
}

export function tableKey(table: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([table.schema, table.name])
}

export interface Target {
  check(restoreId: string): Promise<'empty' | 'resume'>
  begin(restoreId: string): Promise<ReadonlyMap<string, number>>
  run(
    statements: readonly SchemaStatement[],
    lane: number,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<readonly Refusal[]>
  load(
    table: { readonly schema: string; readonly name: string; readonly columns: readonly string[] },
    form: string,
    rows: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number>
  remember(text: string): Promise<void>
  remembered(): Promise<readonly string[]>
  missingTypes(types: readonly string[]): Promise<ReadonlySet<string>>
  digest(
    tables: readonly {
      readonly schema: string
      readonly name: string
      readonly columns: readonly string[]
    }[],
  ): Promise<readonly TableDigest[]>
  /** What people must know of the rows that were loaded. */
  remarks(): readonly string[]
  finish(): Promise<void>
  close(): Promise<void>
}
