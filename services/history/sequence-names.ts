/**
 * How sequences were called at a point. Samples have the names of their own moment, which may be another sequence's at the
 * point: their OIDs say which is which, and schema records how each was called.
 */
import type { Named, PlacedRecord, RecordWords } from '../core/ports/dialect.ts'
import { comparePositions, type Position } from '../core/position.ts'
import { type SampledSequences, sequenceKey, type SequenceSample } from '../core/transaction.ts'

export class SequenceNames {
  /** By OID: undefined for one that was dropped before the point. */
  readonly #recorded = new Map<number, Named | undefined>()
  /** OIDs of which records behind the point tell something, and nothing before it: there before all records, or made later. */
  readonly #later = new Map<number, Named | undefined>()
  /** Keys of names that records behind the point name. */
  readonly #altered = new Set<string>()

  /** @param beyond up to where records behind the point may show in the sample behind it; undefined: all of them */
  constructor(
    words: RecordWords,
    records: readonly PlacedRecord[],
    point: Position,
    beyond: Position | undefined,
  ) {
    for (const { position, record } of records) {
      const isLater = comparePositions(position, point) > 0
      if (isLater && beyond !== undefined && comparePositions(position, beyond) > 0) continue
      const told = words.sequences(record)
      // Samples without OIDs know names alone.
      if (isLater) for (const { schema, name } of told) this.#addAltered({ schema, name })
      for (const { oid, schema, name: called, isGone } of told) {
        if (oid === undefined) continue
        const name = isGone ? undefined : { schema, name: called }
        if (!isLater) this.#recorded.set(oid, name)
        else if (this.#recorded.has(oid)) this.#addAltered(this.#recorded.get(oid))
        else this.#later.set(oid, undefined)
      }
    }
  }

  /** Whether a record behind the point names any sequence. */
  get isAnyAltered(): boolean {
    return this.#altered.size > 0
  }

  /**
   * Sequences whose name stands for another one, or that begin anew, behind the point: a sample behind it tells nothing of
   * what they gave before. Its values are read after what it says has been received, but before the next sample.
   */
  get altered(): ReadonlySet<string> {
    return this.#altered
  }

  /** Samples that were taken before the point, oldest first: how those were called that records name only behind it. */
  learn(history: readonly SampledSequences[]): void {
    for (const { samples } of history)
      for (const { oid, schema, name } of samples) {
        if (oid === undefined || !this.#later.has(oid) || this.#later.get(oid) !== undefined) continue
        this.#later.set(oid, { schema, name })
        this.#addAltered({ schema, name })
      }
  }

  /** The sample with the names of the point, without sequences that are not there at the point. */
  then(sample: SampledSequences): SampledSequences {
    const there = new Set(sample.samples.map(({ oid }) => oid))
    return {
      ...sample,
      samples: sample.samples.flatMap((one) => this.#renamed(one)),
      ...(sample.gone === undefined
        ? {}
        : {
            // Under another name it is still there.
            gone: sample.gone.flatMap((one) =>
              one.oid !== undefined && there.has(one.oid) ? [] : this.#renamed(one),
            ),
          }),
    }
  }

  #renamed<T extends Pick<SequenceSample, 'schema' | 'name' | 'oid'>>(one: T): T[] {
    const { oid } = one
    if (oid === undefined) return [one]
    const names = [this.#recorded, this.#later].find((known) => known.has(oid))
    if (names === undefined) return [one]
    const name = names.get(oid)
    return name === undefined ? [] : [{ ...one, ...name }]
  }

  #addAltered(name: Named | undefined): void {
    if (name !== undefined) this.#altered.add(sequenceKey(name))
  }
}
