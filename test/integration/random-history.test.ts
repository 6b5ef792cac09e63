/**
 * Random histories of DML and DDL on one database, replayed statement by statement on a second one; the backup is then
 * restored at random commits and must equal the replay at each. The seed is printed; TIDEMARK_SEED=n runs it again.
 */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'
import { random } from '../../services/demo/chat-traffic.ts'
import { TidemarkError } from '../../services/core/errors.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const SOAK = process.env['TIDEMARK_TEST_SCOPE'] === 'soak'
const STEPS = Number(process.env['TIDEMARK_STEPS'] ?? (SOAK ? 1500 : 120))
const RESTORES = Number(process.env['TIDEMARK_RESTORES'] ?? (SOAK ? 40 : 6))

/** Writes statements that are deterministic: the second database must come to the same rows. */
class History {
  readonly #next: () => number
  readonly tables = new Map<
    string,
    { columns: string[]; dropped: string[]; keyed: boolean; serial: number }
  >()
  #names = 0

  constructor(next: () => number) {
    this.#next = next
  }

  #int(limit: number): number {
    return Math.floor(this.#next() * limit)
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#int(list.length)]!
  }

  #text(): string {
    const big = this.#next() < 0.06
    return `'${this.#pick(['a', 'ü', '消息', '👍', '\\x', 'tab\t', "q''q"])}${this.#int(1000)}${big ? `' || (SELECT string_agg(md5((${this.#int(999)} + i)::text), '') FROM generate_series(1, 120) i) || '` : ''}'`
  }

  /** One transaction. */
  transaction(): string[] {
    const out: string[] = []
    const count = 1 + this.#int(4)
    for (let i = 0; i < count; i++)
      out.push(this.#next() < 0.2 || this.tables.size === 0 ? this.#ddl() : this.#dml())
    return out
  }

  #dml(): string {
    const [name, table] = this.#pick([...this.tables])
    const column = this.#pick(table.columns)
    const roll = this.#next()
    if (roll < 0.45) {
      const rows = 1 + this.#int(4)
      const values = Array.from(
        { length: rows },
        () =>
          `(${++table.serial}, ${table.columns.map(() => (this.#next() < 0.15 ? 'NULL' : this.#text())).join(', ')})`,
      )
      return `INSERT INTO ${name} (id${table.columns.map((c) => `, ${c}`).join('')}) VALUES ${values.join(', ')}`
    }
    if (roll < 0.7 && column !== undefined)
      return `UPDATE ${name} SET ${column} = ${this.#text()} WHERE id % ${2 + this.#int(5)} = 0`
    if (roll < 0.78)
      return `UPDATE ${name} SET id = id + 100000 WHERE id = ${this.#int(table.serial + 1)} AND id < 100000`
    if (roll < 0.82 && table.keyed) return `UPDATE ${name} SET id = -id WHERE id % 7 = 3`
    if (roll < 0.95) return `DELETE FROM ${name} WHERE id % ${3 + this.#int(9)} = ${this.#int(3)}`
    return `TRUNCATE ${name}`
  }

  /** Often one that another column of the table had: a column that looks the same is not the same. */
  #columnName(table: { readonly columns: readonly string[]; readonly dropped: string[] }): string {
    const free = table.dropped.filter((name) => !table.columns.includes(name))
    return free.length > 0 && this.#next() < 0.6 ? this.#pick(free) : `x${++this.#names}`
  }

  #ddl(): string {
    const fresh = (): string => `x${++this.#names}`
    const roll = this.#next()
    if (roll < 0.3 || this.tables.size === 0) {
      const name = fresh()
      const keyed = this.#next() < 0.7
      const columns = Array.from({ length: 1 + this.#int(3) }, fresh)
      this.tables.set(name, { columns, dropped: [], keyed, serial: 0 })
      return `CREATE TABLE ${name} (id bigint${keyed ? ' PRIMARY KEY' : ''}${columns.map((c) => `, ${c} text`).join('')})`
    }
    const [name, table] = this.#pick([...this.tables])
    if (roll < 0.5) {
      const column = this.#columnName(table)
      table.columns.push(column)
      return `ALTER TABLE ${name} ADD COLUMN ${column} text${this.#next() < 0.5 ? ` DEFAULT ${`'d${this.#int(9)}'`}` : ''}`
    }
    if (roll < 0.6 && table.columns.length > 1) {
      const column = table.columns.splice(this.#int(table.columns.length), 1)[0]!
      table.dropped.push(column)
      return `ALTER TABLE ${name} DROP COLUMN ${column}`
    }
    if (roll < 0.7 && table.columns.length > 0) {
      const index = this.#int(table.columns.length)
      const old = table.columns[index]!
      table.columns[index] = this.#columnName(table)
      table.dropped.push(old)
      return `ALTER TABLE ${name} RENAME COLUMN ${old} TO ${table.columns[index]}`
    }
    if (roll < 0.78) {
      const renamed = fresh()
      this.tables.delete(name)
      this.tables.set(renamed, table)
      return `ALTER TABLE ${name} RENAME TO ${renamed}`
    }
    if (roll < 0.84 && this.tables.size > 2) {
      this.tables.delete(name)
      return `DROP TABLE ${name}`
    }
    if (roll < 0.9) {
      const copy = fresh()
      this.tables.set(copy, {
        columns: [...table.columns],
        dropped: [],
        keyed: false,
        serial: table.serial,
      })
      return `CREATE TABLE ${copy} AS SELECT id${table.columns.map((c) => `, ${c}`).join('')} FROM ${name}`
    }
    if (roll < 0.95) return `CREATE INDEX ${fresh()} ON ${name} (id)`
    return `ALTER TABLE ${name} REPLICA IDENTITY ${this.#next() < 0.5 ? 'FULL' : table.keyed ? 'DEFAULT' : 'FULL'}`
  }
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test(`restores at random commits equal the replay (seed ${SEED})`, { timeout: 600_000 }, async () => {
    const next = random(SEED)
    await using backup = await Backup.start({ version, rollMs: 300, segmentBytes: 256 * 1024 })
    const replay = new pg.Client(await backup.emptyDatabase())
    await replay.connect()
    const history = new History(next)
    const expected: { readonly at: string; readonly rows: readonly string[] }[] = []
    const every = Math.floor(STEPS / RESTORES)
    try {
      for (let step = 1; step <= STEPS; step++) {
        const statements = history.transaction()
        for (const client of [backup.source, replay]) {
          await client.query('BEGIN')
          for (const statement of statements) await client.query(statement)
          await client.query('COMMIT')
        }
        if (step % every === 0) {
          const at = (
            await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
          ).rows[0]!.lsn
          expected.push({ at, rows: shown(await digests(backup.sourceUrl)) })
          const parsed = new URL(backup.sourceUrl)
          parsed.pathname = `/${(replay as unknown as { database: string }).database}`
          expect(shown(await digests(parsed.toString())), `the replay at step ${step}`).toEqual(
            expected.at(-1)!.rows,
          )
        }
      }
    } finally {
      await replay.end()
    }
    await backup.durable()
    let refused = 0
    for (const [index, { at, rows }] of expected.entries()) {
      try {
        // Every other one folds on disk.
        const restored = await backup.restore(at, index % 2 === 0 ? {} : { memoryBytes: 1000 })
        expect(shown(await digests(restored.url)), `restored to ${at}`).toEqual(rows)
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'GAP') throw error
        refused++
      }
    }
    console.log(
      `PostgreSQL ${version}, seed ${SEED}: ${expected.length} restores, ${refused} refused for a gap`,
    )
    expect(refused).toBe(0)
  })
})
