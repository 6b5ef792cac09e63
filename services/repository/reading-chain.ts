/** Readings of the schema as they go on from each other: a whole one, and the changes that continue it. */
import { comparePositions, parsePosition, positionText } from '../core/position.ts'
import { isBefore } from '../core/snapshot.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { ReadingEntry } from '../formats/schema-change.ts'

export type NamedReadings = ReadonlyMap<string | undefined, ReadingEntry>

export function byName(readings: readonly ReadingEntry[]): NamedReadings {
  return new Map(readings.map((one) => [one.body.reading, one]))
}

/** From the whole one on, the entry itself last. Undefined where one that it goes on from is not there. */
export function readingChain(
  readings: NamedReadings,
  entry: ReadingEntry,
): [NumberedEntry<'schema'>, ...ReadingEntry[]] | undefined {
  const changes: ReadingEntry[] = []
  const passed = new Set<ReadingEntry>()
  for (let at: ReadingEntry | undefined = entry; at !== undefined && !passed.has(at); ) {
    passed.add(at)
    const { body } = at
    if (body.kind === 'schema') return [{ ...at, body }, ...changes.reverse()]
    changes.push(at)
    at = readings.get(body.since)
  }
  return undefined
}

/**
 * Where the first entry stands that a reading needs, as text. It need not be the whole one: a base's own stands where the base
 * begins, and a change that goes on from that may stand in front of it, where the stream is behind.
 */
export function chainFrom(readings: NamedReadings, entry: ReadingEntry): string {
  const places = (readingChain(readings, entry) ?? [entry]).map(({ body }) => parsePosition(body.at))
  return positionText(places.reduce((low, at) => (comparePositions(at, low) < 0 ? at : low)))
}

/**
 * Puts a reading in its place by what it saw. The ledger may have them in another order: a base stores its own at once, and one
 * of the log, made before it, comes with the next segments.
 */
export function addReading(readings: ReadingEntry[], entry: ReadingEntry): void {
  let at = readings.length
  while (at > 0 && isBefore(entry.body.snapshot, readings[at - 1]!.body.snapshot)) at--
  readings.splice(at, 0, entry)
}
