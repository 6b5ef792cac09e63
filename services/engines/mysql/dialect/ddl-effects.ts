/**
 * What a statement of the log does to tables, by its first words. What is not known for certain to leave the rows of tables as they
 * are counts as if it changed them: such a table is read again.
 */
import type { TableName } from './names.ts'
import { type Quotes, type Word, wordsOf } from './statement-words.ts'

export type DdlEffect =
  | { readonly kind: 'created' | 'dropped' | 'changed' | 'emptied'; readonly table: TableName }
  /** Its rows stay: an index of it came or went. */
  | { readonly kind: 'indexed'; readonly table: TableName }
  /** A view, a routine, a trigger, an event, a sequence. `isGone` also where it is made anew. */
  | { readonly kind: 'object'; readonly what: string; readonly object: TableName; readonly isGone: boolean }
  | { readonly kind: 'all changed' | 'all dropped'; readonly schema: string }

/** Nothing of it is in a table, or in what a backup has. */
const SILENT =
  /^(OPTIMIZE|REPAIR|CHECK|FLUSH|GRANT|REVOKE|USE|LOCK|UNLOCK|RESET|PURGE|KILL|INSTALL|UNINSTALL|CACHE|SHUTDOWN|CHANGE|START|STOP|SAVEPOINT)$/
const SILENT_OBJECTS =
  /^(USER|ROLE|SERVER|TABLESPACE|LOGFILE|UNDO|RESOURCE|SPATIAL REFERENCE|INSTANCE|LIBRARY)$/
const OBJECTS = /^(VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE|PACKAGE)$/
/** What may stand between CREATE, ALTER or DROP and what it is about. */
const BETWEEN =
  /^(OR|REPLACE|TEMPORARY|ONLINE|OFFLINE|IGNORE|UNIQUE|FULLTEXT|SPATIAL|AGGREGATE|ALGORITHM|UNDEFINED|MERGE|TEMPTABLE|SQL|SECURITY|INVOKER)$/

/**
 * @param database of the session
 * @param quotes as the session had them
 * @returns nothing for what leaves all tables and objects as they are
 */
export function ddlEffects(sql: string, database: string, quotes?: Quotes): readonly DdlEffect[] {
  const reader = new Reader(wordsOf(sql, quotes), database)
  const verb = reader.word()
  if (SILENT.test(verb)) return []
  switch (verb) {
    // MariaDB's SET STATEMENT … FOR and ANALYZE run the statement that they have in them.
    case 'SET':
      return reader.skip('STATEMENT') ? reader.unknown() : []
    case 'ANALYZE':
      reader.skip('LOCAL', 'NO_WRITE_TO_BINLOG')
      return reader.skip('TABLE', 'TABLES') ? [] : reader.unknown()
    case 'CREATE':
    case 'ALTER':
    case 'DROP':
      return reader.about(verb)
    case 'RENAME':
      return reader.renames()
    case 'TRUNCATE':
      reader.skip('TABLE')
      return reader.one('emptied')
    default:
      return reader.unknown()
  }
}

class Reader {
  readonly #words: Generator<Word>
  readonly #database: string
  #next: Word | undefined

  constructor(words: Generator<Word>, database: string) {
    this.#words = words
    this.#database = database
    this.#step()
  }

  #step(): Word | undefined {
    const taken = this.#next
    const { value, done } = this.#words.next()
    this.#next = done === true ? undefined : value
    return taken
  }

  get #upper(): string {
    return this.#next?.kind === 'word' || this.#next?.kind === 'sign' ? this.#next.text.toUpperCase() : ''
  }

  word(): string {
    const word = this.#upper
    this.#step()
    return word
  }

  skip(...words: readonly string[]): boolean {
    if (!words.includes(this.#upper)) return false
    this.#step()
    return true
  }

  unknown(): readonly DdlEffect[] {
    return [{ kind: 'all changed', schema: this.#database }]
  }

  one(kind: 'created' | 'dropped' | 'changed' | 'emptied' | 'indexed'): readonly DdlEffect[] {
    const table = this.#name()
    return table === undefined ? this.unknown() : [{ kind, table }]
  }

  about(verb: 'CREATE' | 'ALTER' | 'DROP'): readonly DdlEffect[] {
    let replaces = false
    let isTemporary = false
    for (;;) {
      if (this.skip('DEFINER')) {
        // Else it is whose rights count: SQL SECURITY DEFINER.
        if (this.skip('=')) this.#user()
      } else if (this.skip('=')) continue
      else if (BETWEEN.test(this.#upper)) {
        const word = this.word()
        replaces ||= word === 'REPLACE'
        isTemporary ||= word === 'TEMPORARY'
      } else break
    }
    const what = this.word()
    this.#ifExists()
    if (what === 'TABLE' || what === 'TABLES') return isTemporary ? [] : this.#table(verb)
    if (what === 'INDEX') return this.#index()
    if (what === 'DATABASE' || what === 'SCHEMA') return this.#schema(verb)
    if (OBJECTS.test(what)) return this.#objects(verb, what, replaces)
    return SILENT_OBJECTS.test(what) ? [] : this.unknown()
  }

  #table(verb: string): readonly DdlEffect[] {
    if (verb === 'DROP') return this.#dropped()
    if (verb === 'CREATE') return this.one('created')
    const table = this.#name()
    if (table === undefined) return this.unknown()
    const effects: DdlEffect[] = [{ kind: 'changed', table }]
    for (let before = ''; this.#next !== undefined; ) {
      const word = this.word()
      const effect = this.#other(before, word)
      before = word
      if (effect === undefined) continue
      const renamed = word === 'RENAME' && effect.kind === 'created'
      if (renamed) effects[0] = { kind: 'dropped', table }
      effects.push(effect)
    }
    return effects
  }

  /** What ALTER TABLE does to another table than the one it names first; more where a word is not what it looks like. */
  #other(before: string, word: string): DdlEffect | undefined {
    if (word === 'RENAME') {
      if (['COLUMN', 'INDEX', 'KEY', 'CONSTRAINT'].includes(this.#upper)) return undefined
      this.skip('TO', 'AS', '=')
      return this.#as('created')
    }
    if (word !== 'TABLE') return undefined
    // EXCHANGE PARTITION p WITH TABLE t; CONVERT PARTITION p TO TABLE t; CONVERT TABLE t TO PARTITION p
    if (before === 'WITH') return this.#as('changed')
    if (before === 'TO') return this.#as('created')
    return before === 'CONVERT' ? this.#as('dropped') : undefined
  }

  #as(kind: 'created' | 'changed' | 'dropped'): DdlEffect | undefined {
    const table = this.#name()
    return table === undefined ? undefined : { kind, table }
  }

  #dropped(): readonly DdlEffect[] {
    const effects: DdlEffect[] = []
    do {
      const table = this.#name()
      if (table === undefined) return this.unknown()
      effects.push({ kind: 'dropped', table })
    } while (this.skip(','))
    return effects
  }

  renames(): readonly DdlEffect[] {
    if (this.skip('USER')) return []
    if (!this.skip('TABLE', 'TABLES')) return this.unknown()
    this.#ifExists()
    const effects: DdlEffect[] = []
    do {
      const from = this.#name()
      while (this.skip('WAIT', 'NOWAIT')) if (/^\d/.test(this.#upper)) this.#step()
      if (from === undefined || !this.skip('TO')) return this.unknown()
      const to = this.#name()
      if (to === undefined) return this.unknown()
      effects.push({ kind: 'dropped', table: from }, { kind: 'created', table: to })
    } while (this.skip(','))
    return effects
  }

  #index(): readonly DdlEffect[] {
    while (this.#next !== undefined) if (this.word() === 'ON') return this.one('indexed')
    return this.unknown()
  }

  #schema(verb: string): readonly DdlEffect[] {
    const schema = this.#step()?.text
    return verb === 'DROP' && schema !== undefined ? [{ kind: 'all dropped', schema }] : []
  }

  #objects(verb: string, what: string, replaces: boolean): readonly DdlEffect[] {
    const effects: DdlEffect[] = []
    this.skip('BODY')
    do {
      this.#ifExists()
      const object = this.#name()
      if (object === undefined) return this.unknown()
      effects.push({ kind: 'object', what: what.toLowerCase(), object, isGone: verb === 'DROP' || replaces })
    } while (verb === 'DROP' && this.skip(','))
    return effects
  }

  #ifExists(): void {
    if (this.skip('IF')) this.skip('NOT')
    this.skip('EXISTS')
  }

  /** `DEFINER = user@host`, of which the parts may be quoted. */
  #user(): void {
    this.#step()
    if (this.#upper.startsWith('@') && this.word() === '@') this.#step()
    if (this.skip('(')) this.skip(')')
  }

  #name(): TableName | undefined {
    const first = this.#part()
    if (first === undefined) return undefined
    if (!this.skip('.')) return { schema: this.#database, name: first }
    const second = this.#part()
    return second === undefined ? undefined : { schema: first, name: second }
  }

  #part(): string | undefined {
    const word = this.#next
    if (word === undefined || (word.kind !== 'word' && word.kind !== 'quoted')) return undefined
    this.#step()
    return word.text
  }
}
