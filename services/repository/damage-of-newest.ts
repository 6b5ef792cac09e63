/** Whether what is damaged keeps the newest points from being restored: told by names and positions, without reading anything. */
import type { DamagedObject } from '../formats/entry-fields.ts'
import { lostObjects, neededFrom } from './damaged-ranges.ts'
import type { Repository } from './repository.ts'

/** What keeps the newest points from being restored: no store has it, and no newer base makes up for it. */
export function damageOfNewest(repository: Pick<Repository, 'catalog' | 'ledger'>): DamagedObject[] {
  const { generation } = repository.catalog
  const base = generation?.bases.findLast((one) => generation.isClosed(one))
  const lost = lostObjects(repository)
  if (generation === undefined || base === undefined || lost.length === 0) return lost
  return lost.filter((one) => neededFrom(repository, generation, base, one) !== undefined)
}
