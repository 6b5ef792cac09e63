/**
 * Units name the one before them, and the ledger the one at its place: none is missing, none is an older writer's behind a
 * newer one's, and the topic is still the same.
 */
import { TidemarkError } from '../../../core/errors.ts'
import { type Unit, unitName } from '../records/unit.ts'

export interface ChainOptions {
  readonly topic: string
  readonly generation: number
  /** Units of lower terms do not count. */
  readonly since: number
  /** Where the ledger says that the log goes on, and the unit that was read there; empty where none was. */
  readonly at: bigint
  readonly unit: string
  /** What is read first may follow anything. */
  readonly isPart: boolean
  /** The unit at the place is no longer there: what is read first has to follow it. */
  readonly isTrimmed: boolean
}

export class UnitChain {
  readonly #options: ChainOptions
  #term = 0
  #last: { readonly name: string; readonly counts: boolean } | undefined
  #isProven = false

  constructor(options: ChainOptions) {
    this.#options = options
    if (!options.isTrimmed) return
    this.#last = { name: options.unit, counts: true }
    this.#isProven = true
  }

  /** Of this generation, and not from before the log began anew. */
  counts(unit: Unit): boolean {
    return unit.generation === this.#options.generation && unit.term >= this.#options.since
  }

  /** Every unit in its order. @throws TidemarkError LOG_HOLE */
  check(unit: Unit, offset: bigint): void {
    const { topic, at, unit: expected, isPart } = this.#options
    const name = unitName(unit)
    const last = this.#last
    const counts = this.counts(unit)
    // A writer that began the log anew names none; what came before it does not count.
    if (
      counts &&
      last !== undefined &&
      unit.previous !== last.name &&
      (unit.previous !== '' || last.counts)
    ) {
      throw new TidemarkError(
        'LOG_HOLE',
        `${topic}: the unit at offset ${offset} follows ${unit.previous === '' ? 'none' : unit.previous}, and ${last.name} was read before it`,
      )
    }
    // Nothing of the log was read yet: what counts begins with its first unit.
    if (counts && last === undefined && expected === '' && !isPart && unit.previous !== '')
      throw new TidemarkError(
        'LOG_HOLE',
        `${topic}: the first unit, at offset ${offset}, follows ${unit.previous}: what lay before it is gone`,
      )
    if (!this.#isProven && expected !== '' && offset >= at) {
      if (offset !== at || name !== expected)
        throw new TidemarkError(
          'LOG_HOLE',
          `${topic}: unit ${expected} is no longer at offset ${at}: the topic was made anew`,
        )
      this.#isProven = true
    }
    if (counts && offset >= at) {
      if (unit.term < this.#term)
        throw new TidemarkError(
          'LOG_HOLE',
          `${topic}: a unit of an older writer lies behind one of a newer: the fencing of the log failed`,
        )
      this.#term = unit.term
    }
    this.#last = { name, counts }
  }
}
