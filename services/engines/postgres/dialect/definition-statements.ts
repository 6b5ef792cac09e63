/** The SQL that makes a function, view, schema, statistics object or extension again, from the definition that its DDL record carries. */
import { quoteName } from './quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { Definition } from './ddl-record.ts'
import { RANK } from '../../../formats/rank.ts'

/** Views stand behind the keys: one with GROUP BY may need a table's. */
const CREATED_AT: Readonly<Record<string, number>> = {
  schema: RANK.schema,
  extension: RANK.extension,
  view: RANK.index - 1,
  materializedView: RANK.index - 1,
  statistics: RANK.behaviour,
}

/** Empty where the server gave no definition. */
export function definitionStatements(definition: Definition): SchemaStatement[] {
  const { kind, schema, name, named, owner, create, populated } = definition
  if (create === null) return []
  const object = { kind, name, ...(schema === null ? {} : { schema }) }
  const say = (rank: number, sql: string): SchemaStatement => ({
    sql,
    rank,
    phase: rank < RANK.key ? 'before' : 'after',
    objects: [object],
  })
  const out = [say(CREATED_AT[kind] ?? RANK.create, create.trim())]
  // An extension is whose it was made by.
  if (kind !== 'extension') out.push(say(RANK.rights, `ALTER ${named} OWNER TO ${quoteName(owner)}`))
  if (kind === 'materializedView' && populated !== false) out.push(say(RANK.rights + 2, `REFRESH ${named}`))
  return out
}
