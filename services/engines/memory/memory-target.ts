/** Target in memory: keeps the rows it is given, field by field as bytes, from lines of text. */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../core/errors.ts'
import { type Refusal, type TableDigest, tableKey, type Target } from '../../core/ports/target.ts'
import type { SchemaStatement } from '../../core/transaction.ts'

/** One row; a field is null or the bytes of its text. */
export type MemoryRow = readonly (Buffer | null)[]

export class MemoryTarget implements Target {
  readonly tables = new Map<string, MemoryRow[]>()
  readonly statements: string[] = []
  readonly #done = new Set<string>()
  readonly #remembered: string[] = []
  #restoreId: string | undefined
  #finished = false

  check(restoreId: string): Promise<'empty' | 'resume'> {
    if (this.#finished || (this.#restoreId !== undefined && this.#restoreId !== restoreId))
      return Promise.reject(
        new TidemarkError('TARGET_NOT_EMPTY', 'the target in memory holds another restore'),
      )
    return Promise.resolve(this.#restoreId === undefined ? 'empty' : 'resume')
  }

  begin(restoreId: string): Promise<ReadonlyMap<string, number>> {
    this.#restoreId = restoreId
    return Promise.resolve(new Map([...this.tables].map(([key, rows]) => [key, rows.length])))
  }

  run(
    statements: readonly SchemaStatement[],
    _lane: number,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<readonly Refusal[]> {
    signal.throwIfAborted()
    for (const { sql } of statements) {
      if (!this.#done.has(sql)) this.statements.push(sql)
      this.#done.add(sql)
      onProgress()
    }
    return Promise.resolve([])
  }

  remarks(): readonly string[] {
    return []
  }

  async load(
    table: { readonly schema: string; readonly name: string; readonly columns: readonly string[] },
    _form: string,
    rows: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number> {
    const chunks: Buffer[] = []
    for await (const chunk of rows) {
      signal.throwIfAborted()
      chunks.push(Buffer.from(chunk))
    }
    const all = Buffer.concat(chunks)
    const read = textRows(all)
    if (read.some((row) => row.length !== table.columns.length))
      throw new TidemarkError('TARGET_FAILED', 'a row with another number of columns than its table')
    this.tables.set(tableKey(table), read)
    return read.length
  }

  remember(text: string): Promise<void> {
    this.#remembered.push(text)
    return Promise.resolve()
  }

  remembered(): Promise<readonly string[]> {
    return Promise.resolve([...this.#remembered])
  }

  missingTypes(): Promise<ReadonlySet<string>> {
    return Promise.resolve(new Set())
  }

  digest(
    tables: readonly { readonly schema: string; readonly name: string }[],
  ): Promise<readonly TableDigest[]> {
    return Promise.resolve(
      tables.map((table) => {
        const rows = this.tables.get(tableKey(table)) ?? []
        const sum = rows.reduce(
          (total, row) =>
            total +
            BigInt(
              `0x${createHash('sha256')
                .update(JSON.stringify(row.map((field) => field?.toString('hex') ?? null)))
                .digest('hex')}`,
            ),
          0n,
        )
        return { schema: table.schema, name: table.name, rows: BigInt(rows.length), digest: sum.toString(16) }
      }),
    )
  }

  finish(): Promise<void> {
    this.#finished = true
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

function textRows(all: Buffer): MemoryRow[] {
  const lines = all.toString('latin1').split('\n').slice(0, -1)
  return lines.map((line) =>
    line.split('\t').map((field) => (field === '\\N' ? null : Buffer.from(unescaped(field), 'latin1'))),
  )
}

const LETTERS: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', v: '\v', f: '\f', r: '\r' }

function unescaped(field: string): string {
  return field.replace(/\\(.)/g, (_, letter: string) => LETTERS[letter] ?? letter)
}
