/**
 * Target: an empty database that a rebuild fills.
 *
 * - `check` refuses what is not empty, is the source, or cannot hold the data (encoding); it changes nothing.
 * - `begin` marks the target as under restore (so that a crashed one is told from a finished one, and the same restore
 *   may run again) and returns the rows of each table that an earlier try has loaded, by `tableKey`.
 * - `run` executes schema statements in the given order; a statement that was already done in an earlier try is passed
 *   over. Different lanes (small numbers) may run at once. Returns what could not be made and is not essential.
 * - `load` copies rows into one table: all of them or none; the table counts as loaded from then on. The bytes of a
 *   chunk may change once the second chunk after it is asked for, so that its buffer can be used again. It takes COPY text, or COPY's binary format with its header
 *   and trailer.
 */
import type { SchemaStatement } from '../transaction.ts'

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
  ): Promise<readonly string[]>
  load(
    table: { readonly schema: string; readonly name: string; readonly columns: readonly string[] },
    format: 'text' | 'binary',
    rows: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number>
  digest(
    tables: readonly {
      readonly schema: string
      readonly name: string
      readonly columns: readonly string[]
    }[],
  ): Promise<readonly TableDigest[]>
  finish(): Promise<void>
  close(): Promise<void>
}
