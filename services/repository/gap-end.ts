/** Where a gap ends: by a copy of its table, or by the first base of a generation that came after its own. */
import type { Position } from '../core/position.ts'
import type { Catalog } from './catalog.ts'
import type { Gap } from './generation.ts'

export interface GapEnd {
  readonly at: Position
  /** Positions of two generations may overlap. */
  readonly generation: number
}

/** @returns undefined while it is open */
export function gapEnd({ allGenerations }: Pick<Catalog, 'allGenerations'>, gap: Gap): GapEnd | undefined {
  const at = gap.closedAt ?? gap.to
  if (at !== undefined) return { at, generation: gap.generation }
  for (const generation of allGenerations) {
    const { generation: number } = generation.facts
    const base = number > gap.generation ? generation.allBases.find((b) => generation.isClosed(b)) : undefined
    if (base !== undefined) return { at: base.closing, generation: number }
  }
  return undefined
}
