/** How an object of a schema is called towards people: kind and name. */
import type { SchemaObject } from './transaction.ts'

export function objectText(object: SchemaObject | undefined): string {
  if (object === undefined) return 'a statement'
  const place = [object.schema, object.table].filter((part) => part !== undefined).join('.')
  return `${object.kind} ${place === '' ? '' : `${place}.`}${object.name}`
}
