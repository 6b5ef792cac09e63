/** A store whose answers are lost, refused or late, by a tape that the test gives: the same tape, the same faults. */
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import type { KeptObject, ObjectDigest, ObjectStore } from '../../services/core/ports/object-store.ts'

/** `lose`: it is done, the answer is not heard. `late`: it looks refused and is done some time later. */
export type Fate = 'pass' | 'lose' | 'refuse' | 'late'

/** Fates of puts in their order, and how many reads lie between two that fail; when they are used up everything passes. */
export class Tape {
  readonly #fates: readonly Fate[]
  readonly #reads: readonly number[]
  #at = 0
  #read = 0
  #left: number | undefined
  /** Puts that are still under way. */
  readonly late: (() => void)[] = []

  constructor(fates: readonly Fate[], reads: readonly number[] = []) {
    this.#fates = fates
    this.#reads = reads
  }

  put(): Fate {
    return this.#fates[this.#at++] ?? 'pass'
  }

  read(): 'pass' | 'refuse' {
    this.#left ??= this.#reads[this.#read++]
    if (this.#left === undefined || this.#left-- > 0) return 'pass'
    this.#left = undefined
    return 'refuse'
  }

  /** Nothing fails from here on. */
  end(): void {
    this.#at = this.#fates.length
    this.#read = this.#reads.length
    this.#left = undefined
  }

  /** What was under way arrives. */
  land(): void {
    for (const put of this.late.splice(0)) put()
  }
}

export interface FaultyOptions {
  readonly to: MemoryStore
  readonly tape: Tape
  /** Waited for before each put: whoever resolves it decides their order. */
  readonly turn: (what: string) => Promise<void>
  /** Whether the process that calls has ended: nothing of it is done any more. */
  readonly isDead: () => boolean
}

export class FaultyStore implements ObjectStore {
  readonly place: string
  readonly #options: FaultyOptions

  constructor(options: FaultyOptions) {
    this.#options = options
    this.place = options.to.place
  }

  async #called<T>(what: string, action: () => Promise<T>, isPut = false): Promise<T> {
    const { tape, turn, isDead } = this.#options
    if (isPut) await turn(what)
    if (isDead()) throw new DOMException('crash', 'AbortError')
    const fate = isPut ? tape.put() : tape.read()
    const lost = new TidemarkError('STORE_UNREACHABLE', `${what}: ${fate}`)
    if (fate === 'pass') return action()
    if (fate === 'lose') await action()
    if (fate === 'late') tape.late.push(() => void action())
    throw lost
  }

  putIfAbsent(name: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return this.#called(`put ${name}`, () => this.#options.to.putIfAbsent(name, chunks), true)
  }

  get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.#called(`get ${name}`, () => this.#options.to.get(name, range))
  }

  digest(name: string): Promise<ObjectDigest> {
    return this.#called(`digest ${name}`, () => this.#options.to.digest(name))
  }

  size(name: string): Promise<number | undefined> {
    return this.#called(`size ${name}`, () => this.#options.to.size(name))
  }

  async *list(prefix: string): AsyncIterable<string> {
    await this.#called(`list ${prefix}`, () => Promise.resolve())
    yield* this.#options.to.list(prefix)
  }

  remove(name: string): Promise<void> {
    return this.#called(`remove ${name}`, () => this.#options.to.remove(name))
  }

  kept(prefix: string): AsyncIterable<KeptObject> {
    return this.#options.to.kept(prefix)
  }

  purge(object: KeptObject): Promise<'purged'> {
    return this.#options.to.purge(object)
  }
}
