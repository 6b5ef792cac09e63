/** What is not known yet of the newest points: the source's catalog is compared with its records of schema changes every few seconds. */
import { comparePositions, positionBefore } from '../core/position.ts'
import type { ResolvedPoint } from '../history/point.ts'
import type { Catalog } from '../repository/catalog.ts'
import type { Gap } from '../repository/generation.ts'
import { pointText } from '../repository/restorable.ts'
import { wholePoints } from './whole-points.ts'

/**
 * @param excluded tables that are left out, as schema.name
 * @returns for people; undefined where no transaction of the restore came behind the last comparison
 */
export function uncompared(
  catalog: Catalog,
  { generation, at }: ResolvedPoint,
  excluded: readonly string[],
): string | undefined {
  const { checked } = generation
  if (at === undefined || comparePositions(at.position, checked) < 0) return undefined
  const counts = ({ scope }: Gap): boolean =>
    scope.kind === 'stream' || !excluded.includes(`${scope.schema}.${scope.name}`)
  const [before] = wholePoints(catalog, {
    generation,
    before: positionBefore(checked),
    behind: undefined,
    countsBefore: counts,
    countsBehind: counts,
  })
  const ways = [
    ...(before === undefined ? [] : [before.replace(/ {2}\(.*\)$/, '')]),
    ...(catalog.generation === generation
      ? ['the same restore again once `up` has compared, which takes seconds while the source answers']
      : []),
  ]
  const certain = ways.length === 0 ? '' : `; to be certain: ${ways.join(', or ')}`
  return `the schema was last compared with its records at ${pointText(catalog, generation, checked)}, before the end of this restore: what was changed behind that without a record (with event triggers off) may be older here, and is not named${certain}`
}
