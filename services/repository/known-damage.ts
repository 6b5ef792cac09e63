/**
 * What was found damaged and is not known to be right again. The ledger says it, so that whoever opens the backup knows it, and not only
 * whoever looked.
 */
import type { CheckpointRoot } from '../formats/checkpoint.ts'
import type { DamagedObject } from '../formats/entry-fields.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'
import { type Floor, isBelow } from './floor.ts'

export class KnownDamage {
  readonly #found = new Map<string, DamagedObject>()
  /** Found beside those that are named. */
  #more = 0

  apply({ found, intact, more }: Pick<EntryOf<'damage'>, 'found' | 'intact' | 'more'>): void {
    for (const name of intact) this.#found.delete(name)
    for (const one of found) this.#found.set(one.object, one)
    this.#more = more
  }

  resume({ found, more }: NonNullable<CheckpointRoot['damage']>): void {
    this.apply({ found, intact: [], more })
  }

  stored(): Pick<CheckpointRoot, 'damage'> {
    return this.#found.size === 0 && this.#more === 0
      ? {}
      : { damage: { found: [...this.#found.values()], more: this.#more } }
  }

  get(name: string): DamagedObject | undefined {
    return this.#found.get(name)
  }

  get more(): number {
    return this.#more
  }

  /** Of what the backup still has. */
  above(floor: Floor | undefined): DamagedObject[] {
    return [...this.#found.values()].filter(({ object }) => !isBelow(floor, object))
  }
}
