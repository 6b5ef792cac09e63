/** Random transactions over two tables in memory. */
import type { MemoryChange, MemoryRows } from '../../services/engines/memory/memory-source.ts'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'

export type Dice = (below: number) => number

export const TABLES: readonly MemoryTable[] = [
  { oid: 16400, name: 'a', columns: ['x', 'y'], identity: 'default' },
  { oid: 16401, name: 'b', columns: ['x'], identity: 'full' },
]
export function changes(source: { rows(name: string): MemoryRows }, next: Dice): MemoryChange[] {
  const out: MemoryChange[] = []
  const held = new Map(TABLES.map(({ name }) => [name, new Set(source.rows(name).keys())]))
  const text = (): string | null => (next(6) === 0 ? null : `v${next(1000)}`)
  for (let left = 1 + next(5); left > 0; left--) {
    const table = TABLES[next(TABLES.length)]!
    const ids = held.get(table.name)!
    const id = next(12)
    const values = table.columns.map(text)
    if (next(40) === 0) {
      out.push({ kind: 'truncate', table: table.name })
      ids.clear()
    } else if (!ids.has(id)) {
      out.push({ kind: 'insert', table: table.name, id, values })
      ids.add(id)
    } else if (next(3) === 0) {
      out.push({ kind: 'delete', table: table.name, id })
      ids.delete(id)
    } else out.push({ kind: 'update', table: table.name, id, to: id, values })
  }
  return out
}
