/** What is known to be damaged, for `doctor` and `status`. */
import type { Finding } from '../../core/finding.ts'
import type { DamagedObject } from '../../formats/entry-fields.ts'
import { damageOfNewest } from '../../repository/damage-of-newest.ts'
import type { Repository } from '../../repository/repository.ts'

export interface DamageReport {
  readonly objects: number
  /** Of them, what keeps the newest points from being restored. */
  readonly ofNewest: number
  /** For people; empty where there is none. */
  readonly what: string
}

export function readDamage(repository: Pick<Repository, 'catalog' | 'ledger'>): DamageReport {
  const { catalog } = repository
  const found = catalog.damage.above(catalog.floor)
  const needed = damageOfNewest(repository)
  const objects = found.length + catalog.damage.more
  if (objects === 0) return { objects: 0, ofNewest: 0, what: '' }
  const worst = [...needed, ...found.filter((one) => !needed.includes(one))]
  const meaning =
    needed.length > 0
      ? 'the newest points cannot be restored'
      : found.every(({ elsewhere }) => elsewhere)
        ? 'another store has what is missing'
        : 'points before the newest base cannot all be restored'
  return { objects, ofNewest: needed.length, what: `${objects} objects, ${meaning}: ${named(worst)}` }
}

function named(found: readonly DamagedObject[]): string {
  const first = found.slice(0, 3).map(({ object, range }) => `${object} (${range})`)
  return `${first.join(', ')}${found.length > 3 ? ', …' : ''}`
}

export function damageFindings(repository: Pick<Repository, 'catalog' | 'ledger'>): Finding[] {
  const { objects, ofNewest, what } = readDamage(repository)
  if (objects === 0) return []
  return [
    {
      level: ofNewest > 0 ? 'refuse' : 'warn',
      code: 'OBJECT_CORRUPT',
      what: `known to be damaged or missing: ${what}`,
      fix:
        ofNewest > 0
          ? 'put a copy that has it under copies: in tidemark.yaml, then: tidemark scrub --known  (or a base that needs nothing of it: tidemark backup base)'
          : 'tidemark scrub --known  (looks again, and mends from another copy)',
    },
  ]
}
