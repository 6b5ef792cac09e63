/**
 * Proves that the source still has the history that is stored. A slot that stands below the ledger's end sends those
 * transactions once more: they must be the very ones, by place, number and commit time. A source that was set back to an
 * older snapshot of its disk, or a clone, has others there, whatever it has written since; until the proof is complete
 * nothing is acknowledged, or the slot would move past it.
 */
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, laterPosition, type Position, positionText } from '../../../core/position.ts'
import type { StoredCut, StoredHistory } from '../../../core/ports/source.ts'
import type { TransactionHead } from '../../../core/transaction.ts'

export class HistoryProof {
  readonly #stored: StoredHistory
  /** Below it nothing comes again. */
  readonly #confirmed: Position
  #at = 0
  #seen = 0n
  #last: Position | undefined
  #complete: boolean

  constructor(stored: StoredHistory, confirmed: Position) {
    this.#stored = stored
    this.#confirmed = confirmed
    this.#complete = comparePositions(laterPosition(confirmed, stored.from), stored.end) >= 0
  }

  get isComplete(): boolean {
    return this.#complete
  }

  /** A transaction that came again. @throws TidemarkError SOURCE_DIVERGED */
  see({ position: lsn, committedAt }: TransactionHead): void {
    const { from, end, cuts } = this.#stored
    if (this.#complete || comparePositions(lsn, from) <= 0 || comparePositions(lsn, end) >= 0) return
    while (this.#at < cuts.length && comparePositions(lsn, cuts[this.#at]!.to) > 0)
      this.#leave(cuts[this.#at]!)
    const cut = cuts[this.#at]
    const other =
      cut === undefined ||
      (this.#isWhole(cut) && this.#seen === 0n && committedAt !== cut.firstCommittedAt) ||
      (lsn === cut.to && committedAt !== cut.lastCommittedAt)
    if (other)
      throw diverged(`at ${positionText(lsn)} it has another transaction than the one that is stored`)
    this.#seen++
    this.#last = lsn
  }

  /** Everything that commits below `at` has come. @throws TidemarkError SOURCE_DIVERGED */
  passed(at: Position): void {
    const { cuts, end } = this.#stored
    if (this.#complete || comparePositions(at, end) < 0) return
    while (this.#at < cuts.length) this.#leave(cuts[this.#at]!)
    this.#complete = true
  }

  /** Of the others the first transactions do not come again. */
  #isWhole(cut: StoredCut): boolean {
    return comparePositions(cut.from, this.#confirmed) >= 0
  }

  #leave(cut: StoredCut): void {
    const isDue = comparePositions(cut.to, this.#confirmed) >= 0
    if (isDue && this.#last !== cut.to)
      throw diverged(`the transaction at ${positionText(cut.to)}, which is stored, is not in it`)
    if (this.#isWhole(cut) && this.#seen !== cut.transactions)
      throw diverged(
        `up to ${positionText(cut.to)} it has ${this.#seen} transactions, and ${cut.transactions} are stored`,
      )
    this.#at++
    this.#seen = 0n
    this.#last = undefined
  }
}

function diverged(what: string): TidemarkError {
  return new TidemarkError('SOURCE_DIVERGED', `the source does not have the history that is stored: ${what}`)
}
