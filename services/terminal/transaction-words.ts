/** What a transaction did, in words for people. */
import { countText } from './output.ts'

interface Did {
  readonly tables: readonly {
    readonly table: string
    readonly inserts: number
    readonly updates: number
    readonly deletes: number
    readonly truncates: number
  }[]
  readonly schema: readonly string[]
}

const SHOWN = 5

export function transactionWords({ tables, schema }: Did): string {
  const words = [
    ...schema,
    ...tables.flatMap((c) => [
      ...part(c.inserts, 'insert', 'into', c.table),
      ...part(c.updates, 'update', 'of', c.table),
      ...part(c.deletes, 'delete', 'of', c.table),
      ...(c.truncates > 0 ? [`TRUNCATE of ${c.table}`] : []),
    ]),
  ]
  const more = words.length - SHOWN
  return `${words.slice(0, SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function part(count: number, verb: string, of: string, table: string): string[] {
  return count === 0 ? [] : [`${countText(count)} ${verb}${count === 1 ? '' : 's'} ${of} ${table}`]
}
