/** What a restore notes in the target while it goes on: in one table, which is taken out at its end. */
import type mysql from 'mysql2/promise'
import type { BegunRestore } from '../../../core/ports/target.ts'
import { quoteTable } from '../dialect/names.ts'

export const MARKS = 'tidemark_restore'

export interface HeldRestore {
  readonly restoreId: string
  readonly begun: BegunRestore | undefined
}

export class Marks {
  readonly #connection: mysql.Connection
  readonly #table: string
  readonly #database: string

  constructor(connection: mysql.Connection, database: string) {
    this.#connection = connection
    this.#database = database
    this.#table = quoteTable({ schema: database, name: MARKS })
  }

  /** @returns undefined where there is none */
  async held(): Promise<HeldRestore | undefined> {
    const [tables] = await this.#connection.query<mysql.RowDataPacket[]>(
      'SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
      [this.#database, MARKS],
    )
    if (tables.length === 0) return undefined
    const [text] = await this.#texts('state')
    return text === undefined ? undefined : (JSON.parse(text) as HeldRestore)
  }

  async begin(restoreId: string, begun: BegunRestore | undefined): Promise<void> {
    await this.#connection.query(
      `CREATE TABLE IF NOT EXISTS ${this.#table} (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, kind varchar(16) CHARACTER SET ascii NOT NULL, step text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, loaded bigint, fact longtext CHARACTER SET utf8mb4) ENGINE=InnoDB`,
    )
    if ((await this.held()) === undefined)
      await this.#insert(
        'state',
        null,
        null,
        JSON.stringify({ restoreId, ...(begun === undefined ? {} : { begun }) }),
      )
  }

  /** Rows by table, of those that were loaded. */
  async loaded(): Promise<ReadonlyMap<string, number>> {
    const [rows] = await this.#connection.query<mysql.RowDataPacket[]>(
      `SELECT step, loaded FROM ${this.#table} WHERE kind = 'loaded'`,
    )
    return new Map(rows.map((row) => [String(row['step']), Number(row['loaded'])]))
  }

  /** Steps by how far they came. */
  async steps(kind: 'begun' | 'done'): Promise<Set<string>> {
    const [rows] = await this.#connection.query<mysql.RowDataPacket[]>(
      `SELECT step FROM ${this.#table} WHERE kind = ?`,
      [kind],
    )
    return new Set(rows.map((row) => String(row['step'])))
  }

  async note(kind: 'begun' | 'done', step: string): Promise<void> {
    await this.#insert(kind, step, null, null)
  }

  /** As a statement, for the transaction that loads the rows. */
  loadedSql(table: string, rows: number): string {
    const step = `CONVERT(X'${Buffer.from(table).toString('hex')}' USING utf8mb4)`
    return `INSERT INTO ${this.#table} (kind, step, loaded) VALUES ('loaded', ${step}, ${rows})`
  }

  async remember(text: string): Promise<void> {
    await this.#insert('fact', null, null, text)
  }

  remembered(): Promise<readonly string[]> {
    return this.#texts('fact')
  }

  async remove(): Promise<void> {
    await this.#connection.query(`DROP TABLE ${this.#table}`)
  }

  async #texts(kind: string): Promise<readonly string[]> {
    const [rows] = await this.#connection.query<mysql.RowDataPacket[]>(
      `SELECT fact FROM ${this.#table} WHERE kind = ? ORDER BY id`,
      [kind],
    )
    return rows.map((row) => String(row['fact']))
  }

  async #insert(
    kind: string,
    step: string | null,
    loaded: number | null,
    fact: string | null,
  ): Promise<void> {
    await this.#connection.query(
      `INSERT INTO ${this.#table} (kind, step, loaded, fact) VALUES (?, ?, ?, ?)`,
      [kind, step, loaded, fact],
    )
  }
}
