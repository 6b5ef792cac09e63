/** What a plan needs of the objects that are known to be damaged is read before anything is touched: it may be right again by now. */
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { SealedRef } from '../formats/ledger-entry.ts'
import { damageAt, damagedRanges } from '../repository/damaged-ranges.ts'
import { fetchChecked } from '../repository/keyring.ts'
import type { Repository } from '../repository/repository.ts'
import type { RestorePlan } from './plan.ts'

/** @throws TidemarkError OBJECT_CORRUPT, OBJECT_MISSING before anything is made in the target */
export async function refuseDamaged(repository: Repository, plan: RestorePlan): Promise<void> {
  const { generation, position } = plan.point
  const known = new Set(damageAt(damagedRanges(repository), generation, position).map(({ object }) => object))
  if (known.size === 0) return
  for await (const object of objectsOf(plan)) {
    if (!known.has(object.name)) continue
    try {
      await fetchChecked(repository.ledger, object)
    } catch (error) {
      const { code, message } = asTidemarkError(error)
      if (code !== 'OBJECT_CORRUPT' && code !== 'OBJECT_MISSING') throw error
      throw new TidemarkError(code, `this point needs ${object.name}: ${message}`, {
        cause: error,
        means: 'No store has the object as the ledger names it. Nothing was made in the target.',
        next: 'tidemark windows  (says which points need nothing of it); with a copy that has it under copies: in tidemark.yaml: tidemark scrub --known',
      })
    }
  }
}

async function* objectsOf({ tables, segments }: RestorePlan): AsyncGenerator<SealedRef> {
  const wanted = new Set(tables.map(({ oid }) => oid))
  for (const { base } of tables) if (base !== undefined) yield* base.body.parts
  for await (const { body } of segments.entries()) {
    yield body.index
    for (const object of body.objects) if (object.tables.some(({ oid }) => wanted.has(oid))) yield object
  }
}
