/** What the stream knows of the source beside its log: foreign keys that act by themselves, tables, character sets. */
import { readExecuted } from '../binlog/executed.ts'
import { type Cascade, cascadesFrom, readCascades } from '../catalog/foreign-keys.ts'
import { type Charsets, readCharsets } from '../catalog/charsets.ts'
import { listTables } from '../catalog/read-tables.ts'
import type { ExecutedGtids } from '../events/gtid.ts'
import type { OpenSession } from '../session/connect.ts'

export class SchemaWatch {
  readonly #session: OpenSession
  readonly #database: string
  readonly charsets: Charsets
  #cascades: readonly Cascade[] = []
  #tables: readonly string[] = []
  #executed: ExecutedGtids | undefined

  private constructor(session: OpenSession, database: string, charsets: Charsets) {
    this.#session = session
    this.#database = database
    this.charsets = charsets
  }

  static async open(session: OpenSession, database: string): Promise<SchemaWatch> {
    const watch = new SchemaWatch(session, database, await readCharsets(session.connection))
    await watch.look()
    return watch
  }

  /** All that a backup covers by now. */
  get tables(): readonly string[] {
    return this.#tables
  }

  /** All that the last look may have seen. */
  get executed(): ExecutedGtids {
    return this.#executed!
  }

  /**
   * A statement may have changed what is known. What was there before counts on: rows of then may still come.
   *
   * @param dropped tables that the log has dropped by now: none of theirs can
   */
  async look(dropped: ReadonlySet<string> = new Set()): Promise<void> {
    const { connection } = this.#session
    const fresh = await readCascades(connection, this.#database)
    const keyOf = ({ child, name, columns }: Cascade): string => JSON.stringify([child, name, columns])
    const known = new Set(fresh.map(keyOf))
    this.#cascades = [
      ...fresh,
      ...this.#cascades.filter((one) => !known.has(keyOf(one)) && !dropped.has(one.child)),
    ]
    this.#tables = await listTables(connection, this.#database)
    this.#executed = await readExecuted(this.#session)
  }

  /** Foreign keys by which rows of this table change others. */
  cascadesOf(table: string, kind: 'update' | 'delete'): readonly Cascade[] {
    return this.#cascades.filter(
      ({ parent, onDelete, onUpdate }) => parent === table && (kind === 'delete' ? onDelete : onUpdate),
    )
  }

  /** These, and whatever changes of their rows may change. */
  withReached(tables: readonly string[]): readonly string[] {
    return cascadesFrom(this.#cascades, tables)
  }

  reachedFrom(cascades: readonly Cascade[]): readonly string[] {
    return cascadesFrom(
      this.#cascades,
      cascades.map(({ child }) => child),
    )
  }
}
