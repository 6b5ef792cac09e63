/** What a DDL record makes again of an object that is neither a table nor a type nor a sequence. */
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { DdlRecord } from './ddl-record.ts'
import { definitionStatements } from './definition-statements.ts'

/** What makes an object again that a command made or altered, and which statement of older facts that replaces. */
export function definitionAnew(
  record: DdlRecord & { readonly kind: 'other' },
): { readonly replaces: string; readonly statements: SchemaStatement[] } | undefined {
  const { definition } = record.facts
  if (definition == null || !/^(CREATE |ALTER |DEPENDENT$)/.test(record.command)) return undefined
  const statements = definitionStatements(definition)
  if (statements.length === 0) return undefined
  // Rights and comments of an object that the facts have stay: only what makes it is made anew. A function's own
  // statement replaces it, and leaves others of its name.
  const { kind, schema, name } = definition
  const replaces = /^(function|procedure|schema)$/.test(kind)
    ? ''
    : `${kind} ${schema === null ? '' : `${schema}.`}${name}`
  return { replaces, statements }
}
