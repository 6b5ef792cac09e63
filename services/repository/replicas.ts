/**
 * The stores of one backup. What the primary takes is put into every synchronous copy before it counts, so that an entry that is durable
 * is in all of them, and everything that it names before it. Mirrored copies are filled behind (mirror.ts) and read where the others fail.
 *
 * An entry goes into a copy that has all before it: of that only the ledger can tell, so the repository brings the two together.
 */
import type { Clock } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import type { Signer } from '../formats/signed-line.ts'
import { ledgerNumber } from '../formats/object-name.ts'
import { CopySet, type CopySetEvents, putSame } from './copy-set.ts'
import { type Floor, laterFloor } from './floor.ts'
import type { Ledger } from './ledger.ts'
import { mirror, refusePromoted } from './mirror.ts'
import { type Orphans, setOrphansAside } from './orphans.ts'
import { readTrim } from './trim.ts'

export interface StoreCopy {
  readonly store: ObjectStore
  readonly synchronous: boolean
}

export interface ReplicasOptions {
  readonly primary: ObjectStore
  /** The store that objects are read from before the primary; the ledger is the primary's throughout. By default the primary. */
  readonly readFirst?: ObjectStore
  /** In the order in which they are to be read. */
  readonly copies: readonly StoreCopy[]
  /** A writer never takes a copy's word for where the ledger ends. */
  readonly use: 'read' | 'write'
  readonly events?: CopySetEvents
  /** Of a reader: the settings' primary answers, and a copy reaches further. */
  readonly isSetBack?: boolean
  /** Of a reader: stores that did not answer, asked where no other one has an object. */
  readonly away?: readonly ObjectStore[]
  /** Ends a read while a store says nothing. */
  readonly signal?: AbortSignal | undefined
}

/** The ledger of these stores, and what else is asked to bring a copy up to it. */
interface Followed {
  readonly ledger: Ledger
  readonly stream: string
  /** Where the backup begins by now. */
  readonly floor: () => Floor | undefined
  readonly clock: Clock
}

export class Replicas {
  readonly primary: ObjectStore
  /** What objects are read from while it has them. */
  readonly readFirst: ObjectStore
  readonly copies: readonly StoreCopy[]
  readonly isSetBack: boolean
  /** What objects are put into and read from; the primary itself where there is no other. */
  readonly store: ObjectStore
  readonly #away: Set<ObjectStore>
  /** Stores that keep less than the whole: what lies before is not put back there. */
  readonly #floors = new Map<ObjectStore, Floor>()
  /** Copies that cannot follow yet: from before a promotion, with entries of their own. */
  readonly #returning = new Set<ObjectStore>()
  /** Up to which entry a synchronous copy is known to be whole. */
  readonly #whole = new Map<ObjectStore, bigint>()
  /** Mirrored copies that were asked whether they are copies still and have not answered. */
  readonly #asked = new Set<ObjectStore>()
  /** Copies that were asked whether they are this backup's. */
  readonly #admitted = new Map<ObjectStore, Promise<void>>()
  #followed: Followed | undefined

  constructor({ primary, copies, isSetBack, away, ...reading }: ReplicasOptions) {
    this.primary = primary
    this.readFirst = reading.readFirst ?? primary
    this.copies = copies
    this.isSetBack = isSetBack === true
    this.#away = new Set(away)
    this.store =
      copies.length === 0
        ? primary
        : new CopySet({
            ...reading,
            primary,
            copies: copies.map(({ store }) => store),
            away: this.#away,
            floors: this.#floors,
            replicate: (name, pieces, signal) => this.#replicate(name, pieces, signal),
          })
  }

  static alone(store: ObjectStore): Replicas {
    return new Replicas({ primary: store, copies: [], use: 'write' })
  }

  /** The primary first. */
  get all(): readonly ObjectStore[] {
    return [this.primary, ...this.copies.map((copy) => copy.store)]
  }

  /** Its copies follow this ledger from here on. */
  follow(followed: Followed): void {
    this.#followed = followed
    if (this.copies.length > 0) followed.ledger.putEntry = (name, file) => this.#putEntry(name, file)
  }

  /** From before a promotion: until it is taken back it gets nothing. */
  returns(store: ObjectStore): void {
    this.#returning.add(store)
  }

  /** Copies from before a promotion become copies of now: what they have of their own is set aside. Before anything counts as durable. */
  async takeBack(
    signer: () => Signer,
  ): Promise<readonly { readonly place: string; readonly orphans: Orphans }[]> {
    const taken: { place: string; orphans: Orphans }[] = []
    if (this.#followed === undefined) return taken
    const { ledger, stream } = this.#followed
    for (const store of [...this.#returning]) {
      const orphans = await setOrphansAside(ledger, store, stream, signer())
      this.#returning.delete(store)
      if (orphans !== undefined) taken.push({ place: store.place, orphans })
    }
    return taken
  }

  /** What stores keep less than the whole. @returns where none that can be asked has it all, where what is read begins */
  async readFloors(): Promise<Floor | undefined> {
    if (this.#followed === undefined) return undefined
    const { ledger, stream } = this.#followed
    const floors: (Floor | undefined)[] = []
    for (const store of this.all) {
      if (this.#away.has(store)) continue
      try {
        const floor = await readTrim(store, ledger, stream)
        floors.push(floor)
        if (floor !== undefined) this.#floors.set(store, floor)
      } catch (error) {
        if (asTidemarkError(error).code === 'LEDGER_BROKEN') throw error
      }
    }
    return floors.reduce(
      (a, b) => (a === undefined || b === undefined ? undefined : laterFloor(a, b) === a ? b : a),
      floors[0],
    )
  }

  get #mirrored(): readonly ObjectStore[] {
    return this.copies.flatMap(({ store, synchronous }) =>
      synchronous || this.#returning.has(store) ? [] : [store],
    )
  }

  get #synchronous(): readonly ObjectStore[] {
    return this.copies.flatMap(({ store, synchronous }) =>
      synchronous && !this.#returning.has(store) ? [store] : [],
    )
  }

  /** An object that the primary has. */
  async #replicate(
    name: string,
    pieces: () => Promise<readonly Uint8Array[]>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const copies = this.#synchronous
    if (copies.length === 0) return
    const bytes = await pieces()
    await Promise.all(
      copies.map(async (copy) => {
        await this.#admit(copy)
        await putSame(copy, name, bytes, signal)
      }),
    )
  }

  /** An empty copy carries its mark before its first object: else it would look like a store of somebody else. */
  #admit(copy: ObjectStore): Promise<void> {
    if (this.#whole.has(copy)) return Promise.resolve()
    let admitted = this.#admitted.get(copy)
    if (admitted === undefined) {
      admitted = this.#catchUp(copy, undefined, 0n)
      admitted.catch(() => this.#admitted.delete(copy))
      this.#admitted.set(copy, admitted)
    }
    return admitted
  }

  /** What the primary has counts, whoever put it there: a try of ours whose copies failed, or another writer. */
  async #putEntry(name: string, file: Buffer): Promise<'created' | 'exists'> {
    const outcome = await this.primary.putIfAbsent(name, [file])
    const number = ledgerNumber(name)
    if (number !== undefined)
      await Promise.all([
        ...this.#synchronous.map((copy) => this.#follow(copy, number, name, file, outcome)),
        ...this.#mirrored.map((copy) => this.#isCopyStill(copy)),
      ])
    return outcome
  }

  /**
   * A mirrored copy may have been promoted since: then the entry is in no backup any more, and what it holds must not be acknowledged to
   * the source. Before the entry this would be asked too early. One that does not answer holds nobody up.
   *
   * @throws TidemarkError STORE_SUPERSEDED
   */
  async #isCopyStill(copy: ObjectStore): Promise<void> {
    if (this.#followed === undefined || this.#asked.has(copy)) return
    const { ledger, clock } = this.#followed
    this.#asked.add(copy)
    const answer = refusePromoted(ledger, copy)
      .then(() => undefined, superseded)
      .finally(() => this.#asked.delete(copy))
    const waiting = new AbortController()
    const late = clock.sleep(LIMITS.copyAnswerMs, waiting.signal).catch(() => undefined)
    const refusal = await Promise.race([answer, late])
    waiting.abort()
    if (refusal !== undefined) throw refusal
  }

  /** An entry goes into a copy that has all before it, and what it names: which somebody else may have put into the primary alone. */
  async #follow(
    copy: ObjectStore,
    number: bigint,
    name: string,
    file: Buffer,
    outcome: 'created' | 'exists',
  ): Promise<void> {
    const whole = this.#whole.get(copy)
    if (outcome === 'exists') await this.#catchUp(copy, whole, number)
    else {
      if (whole !== number - 1n) await this.#catchUp(copy, whole, number - 1n)
      else if (this.#followed !== undefined) await refusePromoted(this.#followed.ledger, copy)
      await putSame(copy, name, [file])
    }
    this.#whole.set(copy, number)
  }

  /** Brings a copy to an entry: others may have written to the primary and ended before the copy had it. */
  async #catchUp(copy: ObjectStore, from: bigint | undefined, until: bigint): Promise<void> {
    if (this.#followed === undefined) return
    const { ledger, stream, floor, clock } = this.#followed
    await mirror({
      ledger,
      stream,
      to: copy,
      floor: floor(),
      from,
      until,
      bandwidth: undefined,
      clock,
      signal: new AbortController().signal,
    })
  }
}

/** Anything else that is wrong with a copy its mirror tells. */
function superseded(error: unknown): TidemarkError | undefined {
  return error instanceof TidemarkError && error.code === 'STORE_SUPERSEDED' ? error : undefined
}
