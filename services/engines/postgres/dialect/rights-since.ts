/** Rights that DDL records tell behind a reading of the schema: they replace those that the reading has of the same objects. */
import { quoteName, quoteTable } from './quote.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { columnRightsCommands, isRights, rightsCommands } from './rights.ts'
import type { RightsFacts } from './ddl-record.ts'
import { isBefore, type ChangePlace } from '../../../core/position.ts'
import type { PlacedDdl } from './placed-records.ts'
import type { PostgresSteps } from './postgres-table.ts'
import { namesNow } from './schema-facts.ts'

export class RightsSince {
  readonly #rights = new Map<string, RightsFacts & { readonly place: ChangePlace }>()

  /**
   * What the records in front of the reading told, of tables whose facts may be older than that.
   *
   * @param oids of those tables
   */
  takeOver(earlier: readonly PlacedDdl[], oids: ReadonlySet<number>): void {
    const before = new RightsSince()
    for (const placed of earlier) before.see(placed)
    for (const [key, rights] of before.#rights)
      if (rights.on === 'TABLE' && oids.has(rights.oid) && !this.#rights.has(key))
        this.#rights.set(key, rights)
  }

  /** In the order of the records: what a table, type or sequence says of itself is newer than what was told before. */
  see(placed: PlacedDdl): void {
    const { record } = placed
    switch (record.kind) {
      case 'table':
        this.#rights.delete(`pg_class:${record.oid}`)
        // It tells those of its identity columns' sequences as well.
        for (const { sequence } of record.facts.columns)
          if (sequence?.oid !== undefined) this.#rights.delete(`pg_class:${sequence.oid}`)
        break
      case 'sequence':
        this.#rights.delete(`pg_class:${record.oid}`)
        break
      case 'type':
        this.#rights.delete(`pg_type:${record.oid}`)
        break
      case 'other':
        for (const rights of record.facts.rights ?? [])
          this.#rights.set(`${rights.class}:${rights.oid}`, { ...rights, place: placed })
        break
      case 'drop':
        if (record.class !== undefined) this.#rights.delete(`${record.class}:${record.oid}`)
        break
      case 'descendant':
      case 'rewrite':
        break
    }
  }

  /** An object is told by its OID, because names may have changed hands; statements of older readings have names alone. */
  applied(
    histories: ReadonlyMap<number, PostgresSteps>,
    statements: readonly SchemaStatement[],
  ): SchemaStatement[] {
    const told = [...this.#rights.values()].map((rights) => ({
      ...rights,
      columns: columnsNow(rights, histories),
    }))
    const names = told.map((rights) => ` ON ${addressOf(rights)} `)
    // The sequence of an identity column is made, with its rights, by the statements of its table.
    const sequences = told.flatMap((rights, i) => (rights.on === 'SEQUENCE' ? [names[i]!] : []))
    const isReplaced = ({ of, sql }: SchemaStatement): boolean => {
      const own = of === undefined ? undefined : this.#rights.get(of)
      if (own !== undefined && (own.on === 'SEQUENCE' || !sql.includes(' ON SEQUENCE '))) return true
      return (of === undefined ? names : sequences).some((name) => sql.includes(name))
    }
    const kept = statements.filter((s) => !isRights(s) || !isReplaced(s))
    return [...kept, ...told.flatMap(rightsStatements)]
  }
}

/** A command at a parent may have renamed columns, or dropped them, behind the record of their rights. */
function columnsNow(
  { oid, on, columns, place }: RightsFacts & { readonly place: ChangePlace },
  histories: ReadonlyMap<number, PostgresSteps>,
): RightsFacts['columns'] {
  const history = on === 'TABLE' ? histories.get(oid) : undefined
  const [then, now] = [history?.steps.findLast((step) => isBefore(step, place)), history?.last]
  if (columns == null || then === undefined || now === undefined) return columns
  const names = namesNow(then.table.facts.columns, now.table.facts.columns)
  return columns.flatMap((column) => {
    const name = names.has(column.name) ? names.get(column.name) : column.name
    return name === undefined ? [] : [{ ...column, name }]
  })
}

/** As the reader of the catalog names it. */
function addressOf({ on, schema, name, args }: RightsFacts): string {
  return `${on} ${schema === null ? quoteName(name) : quoteTable({ schema, name })}${args === undefined ? '' : `(${args})`}`
}

function rightsStatements(rights: RightsFacts): SchemaStatement[] {
  const { kind, schema, name, owner, acl, aclDefault, columns } = rights
  const on = addressOf(rights)
  const object: SchemaObject = { kind, name, ...(schema === null ? {} : { schema }) }
  return collect(object, (say) => {
    // public is there before, with rights of the target's.
    const revokeFirst = kind === 'schema' && name === 'public'
    for (const command of rightsCommands({ on, owner, acl, aclDefault, revokeFirst }))
      say(RANK.rights, command)
    for (const column of columns ?? [])
      for (const command of columnRightsCommands(on, owner, column.name, column.acl))
        say(RANK.rights, command)
  })
}
