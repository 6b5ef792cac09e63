/**
 * Changes of the schema that no record tells, as the readings found them: each happened somewhere between two positions. A
 * reading that knows one which came behind the point is no reading of the point; what may be on either side is said.
 */
import { comparePositions, parsePosition, type Position, positionText } from '../core/position.ts'
import type { ReadingEntry } from '../formats/schema-change.ts'
import type { SchemaReadings } from './schema-readings.ts'

/** Names in one note. */
const MOST = 40

export class UntoldChanges {
  readonly #readings: readonly ReadingEntry[]
  readonly #point: Position

  /** @param readings in the order of what they saw */
  constructor(readings: readonly ReadingEntry[], point: Position) {
    this.#readings = readings
    this.#point = point
  }

  /**
   * Whether the reading has a change that was not made yet at the point.
   *
   * @param isUnsettled whether it was made while objects changed: it may have what the next one tells
   */
  isBehindPoint(reading: ReadingEntry, isUnsettled: boolean): boolean {
    return this.#upTo(reading, isUnsettled).some(
      ({ body: { untold } }) =>
        untold !== undefined && comparePositions(parsePosition(untold.from), this.#point) >= 0,
    )
  }

  /** What is not certain where this reading serves the point. */
  async notes(chosen: ReadingEntry, isUnsettled: boolean, readings: SchemaReadings): Promise<string[]> {
    const known = new Set(this.#upTo(chosen, isUnsettled))
    const notes: string[] = []
    for (const entry of this.#readings) {
      const { untold } = entry.body
      if (untold === undefined) continue
      const [from, to] = [parsePosition(untold.from), parsePosition(untold.to)]
      const isKnown = known.has(entry)
      if (comparePositions(from, this.#point) >= 0 || (isKnown && comparePositions(to, this.#point) <= 0))
        continue
      const objects = (await readings.untold(entry)) ?? []
      const more = objects.length > MOST ? ` and ${objects.length - MOST} more` : ''
      notes.push(
        `definitions may be ${isKnown ? 'newer than the point' : 'older'}: changed without a record between ${positionText(from)} and ${positionText(to)}: ${objects.slice(0, MOST).join(', ')}${more}`,
      )
    }
    return notes
  }

  #upTo(reading: ReadingEntry, isUnsettled: boolean): readonly ReadingEntry[] {
    return this.#readings.slice(0, this.#readings.indexOf(reading) + (isUnsettled ? 2 : 1))
  }
}
