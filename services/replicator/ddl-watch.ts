/** Looks at schema records as they pass: which of them leave a table in a state that the stream cannot tell. */
import type { Randomness } from '../core/clock.ts'
import type { RecordWords } from '../core/ports/dialect.ts'
import { comparePositions, type Position } from '../core/position.ts'
import type { GapNotice, TransactionPart } from '../core/transaction.ts'

export class DdlWatch {
  readonly #words: RecordWords
  readonly #randomness: Randomness

  constructor(words: RecordWords, randomness: Randomness) {
    this.#words = words
    this.#randomness = randomness
  }

  /**
   * The table gaps that this transaction opens: one a table, from the earliest place on, that gives every reason.
   *
   * @param checked where the catalog last agreed with the records: what a repair tells happened somewhere behind it
   * @throws TidemarkError where more may be missing than a gap of a table tells
   */
  gapsOf(part: TransactionPart, checked: Position): GapNotice[] {
    const { leftOut } = this.#words
    const gaps = new Map<number, GapNotice>()
    for (const { oid, schema, name, reason, since } of this.#words.losses(part.ddl)) {
      const from = since === 'checked' ? checked : since === 'here' ? part.head.position : since
      const was = gaps.get(oid)
      const before = was === undefined || was.reason === leftOut ? [] : was.reason.split(AND)
      gaps.set(oid, {
        id: was?.id ?? this.#randomness.uuid(),
        from: was === undefined || comparePositions(from, was.from) < 0 ? from : was.from,
        // Whether it is left out now is what the last record says.
        reason: reason === leftOut ? leftOut : [...new Set([...before, reason])].join(AND),
        scope: { kind: 'table', oid, schema, name },
      })
    }
    return [...gaps.values()]
  }
}

const AND = '; '
