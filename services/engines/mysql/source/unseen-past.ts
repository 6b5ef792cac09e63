/**
 * Rows that the log had before the catalog was looked at: foreign keys and tables of then may be gone, and with them what says that
 * rows of others changed too. Where the log comes to the statement that took one away, its tables are in doubt since those rows.
 */
import type { Position } from '../../../core/position.ts'
import type { DdlEffect } from '../dialect/ddl-effects.ts'

export class UnseenPast {
  /** The first change whose effects were told by a catalog that is newer than it. */
  #since: Position | undefined

  constructor(since: Position | undefined) {
    this.#since = since
  }

  get since(): Position | undefined {
    return this.#since
  }

  /** A transaction that the last look at the catalog has not seen begins: all behind it comes with a look of its own. */
  caughtUp(): void {
    this.#since = undefined
  }

  /** A change that may have changed other tables too. */
  changed(at: Position): void {
    this.#since ??= at
  }

  /** Tables of which the statement may have taken away what told of changes. @param sql undefined where nobody can read it */
  inDoubt(
    effects: readonly DdlEffect[],
    sql: string | undefined,
    { database, tables: all }: { readonly database: string; readonly tables: readonly string[] },
  ): readonly string[] {
    if (this.#since === undefined) return []
    if (effects.some(({ kind }) => kind === 'all changed' || kind === 'all dropped')) return all
    const tables = effects.flatMap((effect) =>
      'table' in effect && effect.kind !== 'indexed' && effect.kind !== 'emptied' ? [effect] : [],
    )
    const isNew = tables.every(({ kind }) => kind === 'created') && !/\bREPLACE\b/i.test(sql ?? '')
    const isHarmless = tables.every(({ kind }) => kind === 'changed') && !TAKES.test(sql ?? '')
    if (isNew || isHarmless) return []
    return tables.filter(({ table }) => table.schema === database).map(({ table }) => table.name)
  }
}

/** Without one of these ALTER TABLE leaves foreign keys, and the names of their columns, as they are. */
const TAKES = /\b(FOREIGN|CONSTRAINT|RENAME|CHANGE|DROP|EXCHANGE|CONVERT)\b/i
