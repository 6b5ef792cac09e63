/**
 * Anchors: the ledger's head, signed, at places outside the store. Whoever serves yesterday's store, or cuts off its newest
 * entries, would have to do the same to every anchor.
 *
 * A place is another store: newest names sort first, objects are made once and the oldest removed.
 */
import { z } from 'zod'
import type { Clock } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { count, hash, instant } from '../formats/entry-fields.ts'
import { openSignedLine, signLine, type Signer } from '../formats/signed-line.ts'
import { anchorName, anchorPrefix } from '../formats/object-name.ts'
import type { Ledger } from './ledger.ts'

const anchoredHead = z.object({
  version: z.literal(1),
  stream: z.uuid(),
  lineage: z.int(),
  number: count,
  hash,
  writtenAt: instant,
})
export type AnchoredHead = z.infer<typeof anchoredHead>

const KEPT = 8

export interface AnchorReport {
  readonly place: string
  /** `equal`: the store holds what was anchored. `none`: nothing was anchored there yet. */
  readonly outcome: 'equal' | 'none' | 'unreachable'
  /** The newest anchored entry, and when it was anchored. */
  readonly head: { readonly number: string; readonly writtenAt: string } | null
  /** Why it could not be asked. */
  readonly why: string | null
}

export interface AnchorFailure {
  readonly place: string
  readonly code: string
  readonly message: string
}

export class Anchors {
  readonly #places: readonly ObjectStore[]
  readonly #ledger: Ledger
  readonly #stream: string
  readonly #clock: Clock
  #written = 0n

  constructor(options: {
    readonly places: readonly ObjectStore[]
    readonly ledger: Ledger
    readonly stream: string
    readonly clock: Clock
  }) {
    this.#places = options.places
    this.#ledger = options.ledger
    this.#stream = options.stream
    this.#clock = options.clock
  }

  get isEmpty(): boolean {
    return this.#places.length === 0
  }

  /**
   * Compares the store with every anchor that can be reached.
   *
   * @throws TidemarkError STORE_ROLLED_BACK, LEDGER_BROKEN where an anchor was altered
   */
  async check(): Promise<AnchorReport[]> {
    const reports: AnchorReport[] = []
    for (const place of this.#places) {
      let head: AnchoredHead | undefined
      try {
        head = await this.#newest(place)
      } catch (error) {
        const known = asTidemarkError(error)
        if (known.code === 'LEDGER_BROKEN') throw known
        reports.push({ place: place.place, outcome: 'unreachable', head: null, why: known.message })
        continue
      }
      if (head !== undefined) await this.#compare(place.place, head)
      reports.push({
        place: place.place,
        outcome: head === undefined ? 'none' : 'equal',
        head: head === undefined ? null : { number: head.number, writtenAt: head.writtenAt },
        why: null,
      })
    }
    return reports
  }

  /** Passes over what a retired signer says of entries that came later. */
  async #newest(place: ObjectStore): Promise<AnchoredHead | undefined> {
    for await (const name of place.list(anchorPrefix(this.#stream))) {
      const anchored = await this.#read(place, name)
      if (!anchored.isPast) return anchored.head
    }
    return undefined
  }

  async #read(
    place: ObjectStore,
    name: string,
  ): Promise<{ readonly head: AnchoredHead; readonly isPast: boolean }> {
    const broken = (what: string, cause?: unknown): TidemarkError =>
      new TidemarkError('LEDGER_BROKEN', `the anchor ${name} in ${place.place}: ${what}`, { cause })
    const { json, signer } = openSignedLine(await place.get(name), this.#ledger.signers, broken)
    const head = anchoredHead.safeParse(json)
    if (!head.success || head.data.stream !== this.#stream) throw broken('it is not of this backup')
    return {
      head: head.data,
      isPast: this.#ledger.signers.isRetired(signer, BigInt(head.data.number)),
    }
  }

  async #compare(place: string, head: AnchoredHead): Promise<void> {
    const number = BigInt(head.number)
    const since = `anchored in ${place} at ${head.writtenAt}`
    // Anchored by a writer that appended after our reading.
    if (number > this.#ledger.headNumber) await this.#ledger.refresh()
    if (number > this.#ledger.headNumber)
      throw new TidemarkError(
        'STORE_ROLLED_BACK',
        `the store's ledger ends at entry ${this.#ledger.headNumber}; entry ${number} was ${since}`,
      )
    const entry =
      number === this.#ledger.headNumber
        ? { hash: this.#ledger.headHash }
        : await this.#ledger.readEntry(number)
    if (entry?.hash !== head.hash)
      throw new TidemarkError('STORE_ROLLED_BACK', `ledger entry ${number} is another one than was ${since}`)
  }

  /** Anchors the head as it is known; returns the places where that failed. */
  async write(signer: Signer): Promise<AnchorFailure[]> {
    const number = this.#ledger.headNumber
    if (number === this.#written) return []
    const head: AnchoredHead = {
      version: 1,
      stream: this.#stream,
      lineage: this.#ledger.lineages.current,
      number: number.toString(),
      hash: this.#ledger.headHash,
      writtenAt: new Date(this.#clock.now()).toISOString(),
    }
    const file = signLine(head, signer)
    const failures: AnchorFailure[] = []
    for (const place of this.#places) {
      try {
        await place.putIfAbsent(anchorName(this.#stream, number), [file])
        await this.#tidy(place, number)
      } catch (error) {
        const known = asTidemarkError(error)
        failures.push({ place: place.place, code: known.code, message: known.message })
      }
    }
    if (failures.length === 0) this.#written = number
    return failures
  }

  /** The newest few stay; what is ahead of us and was not its signer's to say takes none of their places. */
  async #tidy(place: ObjectStore, number: bigint): Promise<void> {
    let kept = 0
    for await (const name of place.list(anchorPrefix(this.#stream))) {
      const isAhead = name < anchorName(this.#stream, number)
      if (isAhead && (await this.#read(place, name)).isPast) await place.remove(name)
      else if (++kept > KEPT) await place.remove(name)
    }
  }

  /** The loss of what the anchors speak of was accepted: they begin anew. */
  async discard(): Promise<void> {
    for (const place of this.#places)
      for await (const name of place.list(anchorPrefix(this.#stream))) await place.remove(name)
  }
}
