/**
 * Several processes at one ledger, with stores that lose answers, and beside them a small model: which entries were acknowledged to whom.
 * What the ledger then says is compared with the model; nothing here knows how the ledger does it.
 */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import canonicalizeModule from 'canonicalize'
import { expect } from 'vitest'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { type Clock, type Randomness, systemRandomness } from '../../services/core/clock.ts'
import { asTidemarkError } from '../../services/core/errors.ts'
import type { ObjectStore } from '../../services/core/ports/object-store.ts'
import { parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import { baseOf, gapOf, GENERATION, heartbeatOf, retireOf, segmentsOf } from './ledger-bench.ts'
import type { EntryBody, EntryOf, SealedRef } from '../../services/formats/ledger-entry.ts'
import type { Signer } from '../../services/formats/signed-line.ts'
import { indexName } from '../../services/formats/object-name.ts'
import { Catalog } from '../../services/repository/catalog.ts'
import { proveLedger } from '../../services/repository/checkpoint.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { putNew } from '../../services/repository/keyring.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import { mirror } from '../../services/repository/mirror.ts'
import { Repository } from '../../services/repository/repository.ts'
import { type Fate, FaultyStore, Tape } from './faulty-store.ts'

const canonicalize = canonicalizeModule as unknown as (value: unknown) => string
const never = new AbortController().signal
const keys = generateKeyPairSync('ed25519')

export type Task =
  | 'segments'
  | 'heartbeat'
  | 'audit'
  | 'refresh'
  | 'checkpoint'
  | 'base'
  | 'gap'
  | 'close-gap'
  | 'retire'
  | 'undo'
  | 'remove'

export interface WorldOptions {
  readonly fates: readonly Fate[]
  /** How many reads lie between two that fail. */
  readonly reads: readonly number[]
  /** Whether what a process stores is acknowledged only once a second store has it too. */
  readonly synchronous: boolean
  readonly turn: (what: string) => Promise<void>
}

class Process {
  readonly repository: Repository
  isDead = false
  /** Cuts of one process go one after the other. */
  cuts: Promise<unknown> = Promise.resolve()
  claiming: Promise<number> | undefined

  constructor(repository: Repository) {
    this.repository = repository
  }
}

export class World {
  readonly primary = new MemoryStore()
  readonly copy = new MemoryStore()
  readonly tape: Tape
  readonly #options: WorldOptions
  readonly #trust: TrustedSigners
  readonly #clock: Clock
  readonly #randomness: Randomness
  readonly #processes = new Map<number, Promise<Process>>()
  /** The model: every body whose append was answered, and every one that was tried. */
  readonly #acknowledged: EntryBody[] = []
  readonly #tried = new Set<string>()
  readonly #work: Promise<unknown>[] = []
  #count = 0

  private constructor(options: WorldOptions, trust: TrustedSigners, clock: Clock, randomness: Randomness) {
    this.#options = options
    this.tape = new Tape(options.fates, options.reads)
    this.#trust = trust
    this.#clock = clock
    this.#randomness = randomness
  }

  static async create(options: WorldOptions): Promise<World> {
    let count = 0
    const clock: Clock = { now: () => 1e12 + count++, elapsed: () => count++, sleep: () => Promise.resolve() }
    const bytes = (length: number): Buffer =>
      createHash('sha512').update(`${count++}`).digest().subarray(0, length)
    const randomness: Randomness = { bytes, uuid: () => uuid(count++) }
    const signers = [{ id: 'w', role: 'keeper' as const, publicKey: pem(keys.publicKey) }]
    const stream = uuid(0)
    const trust = { stream, genesis: '', signers }
    const primary = new MemoryStore()
    const genesis = await createLedger(
      primary,
      clock,
      { kind: 'genesis', stream, signers, recipients: [], format: 2 },
      signer,
    )
    const world = new World(options, { ...trust, genesis }, clock, randomness)
    for (const [name, object] of primary.objects) world.primary.objects.set(name, object)
    const repository = await world.open(world.primary)
    await repository.append(GENERATION)
    return world
  }

  open(store: ObjectStore): Promise<Repository> {
    return this.#open(Replicas.alone(store))
  }

  #open(stores: Replicas): Promise<Repository> {
    return Repository.open({
      stores,
      trust: this.#trust,
      provider: new MemoryKeys(systemRandomness),
      signer,
      clock: this.#clock,
      randomness: this.#randomness,
    })
  }

  /** One task begins in a process; it need not be over when the next begins. */
  begin(which: number, task: Task): void {
    const work = this.#process(which).then(async (process) => {
      try {
        await this.#run(process, task)
      } catch (error) {
        const { code } = asTidemarkError(error)
        if (process.isDead) return
        // Fenced by another writer: the process ends, as `up` does. Overtaken: the command is told so, and nothing was written.
        if (code === 'WRITER_FENCED') this.crash(which)
        else if (code !== 'LEDGER_OVERTAKEN' && code !== 'STORE_UNREACHABLE') throw error
      }
    })
    this.#work.push(work)
  }

  /** The process is gone, with all that it remembered; puts of it may still be under way. */
  crash(which: number): void {
    void this.#processes.get(which)?.then((process) => (process.isDead = true))
    this.#processes.delete(which)
  }

  /** Somebody leaves something under the next number. */
  async litter(): Promise<void> {
    const { ledger } = await this.open(this.primary)
    const name = ledger.lineages.nameOf(ledger.headNumber + 1n)
    await this.primary.putIfAbsent(name, [Buffer.from(`litter ${this.#count++}`)])
  }

  async settled(): Promise<void> {
    while (this.#work.length > 0) await Promise.all(this.#work.splice(0))
  }

  #process(which: number): Promise<Process> {
    const held = this.#processes.get(which)
    if (held !== undefined) return held
    const starting = this.#start()
    this.#processes.set(which, starting)
    return starting
  }

  async #start(): Promise<Process> {
    let process: Process | undefined
    const faulty = (to: MemoryStore): FaultyStore =>
      new FaultyStore({
        to,
        tape: this.tape,
        turn: this.#options.turn,
        isDead: () => process?.isDead === true,
      })
    const primary = faulty(this.primary)
    const stores = new Replicas({
      primary,
      copies: this.#options.synchronous ? [{ store: faulty(this.copy), synchronous: true }] : [],
      use: 'write',
    })
    const repository = await this.#patiently(() => this.#open(stores))
    process = new Process(repository)
    return process
  }

  async #mirror(repository: Repository, to: ObjectStore, from?: bigint, until?: bigint): Promise<void> {
    await mirror({
      ledger: repository.ledger,
      stream: this.#trust.stream,
      to,
      from,
      ...(until === undefined ? {} : { until }),
      floor: undefined,
      bandwidth: undefined,
      clock: this.#clock,
      signal: never,
    })
  }

  async #patiently<T>(action: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await action()
      } catch (error) {
        if (asTidemarkError(error).code !== 'STORE_UNREACHABLE') throw error
      }
    }
  }

  /** As the jobs do: the same body again and again, until it is answered. */
  async #append(process: Process, body: EntryBody): Promise<void> {
    this.#tried.add(canonicalize(body))
    await this.#patiently(() => process.repository.append(body))
    this.#acknowledged.push(body)
    if (this.#options.synchronous) expect(this.copy.objects.size).toBeGreaterThan(1)
  }

  async #object(process: Process, name: string): Promise<SealedRef> {
    const bytes = Buffer.from(name)
    await this.#patiently(() => putNew(process.repository.ledger, name, [bytes]))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    return { name, bytes: String(bytes.length), sha256, key: 'k' }
  }

  async #run(process: Process, task: Task): Promise<void> {
    const { repository } = process
    const { catalog } = repository
    switch (task) {
      case 'segments': {
        const cut = process.cuts.then(() => this.#cut(process))
        process.cuts = cut.catch(() => undefined)
        return cut
      }
      case 'heartbeat': {
        const term = await this.#term(process)
        return this.#append(process, heartbeatOf(term, catalog.generation!.end))
      }
      case 'audit':
        return this.#append(process, {
          kind: 'audit',
          command: 'x',
          operator: 'x',
          what: String(this.#count++),
        })
      case 'refresh':
        return repository.ledger.refresh()
      case 'checkpoint':
        return this.#patiently(() => repository.checkpoint(1))
      case 'base':
        return this.#base(process)
      case 'gap':
        return this.#append(process, gapOf(this.#randomness.uuid(), catalog.generation!.to))
      case 'close-gap': {
        const gap = catalog.openGaps[0]
        if (gap === undefined) return
        return this.#append(process, {
          kind: 'gap-closed',
          generation: 1,
          id: gap.id,
          at: positionText(catalog.generation!.to),
        })
      }
      default:
        return this.#retention(process, task)
    }
  }

  /** Once for each process, as at its start. */
  #term(process: Process): Promise<number> {
    return (process.claiming ??= this.#patiently(() => process.repository.claim(0)))
  }

  async #cut(process: Process): Promise<void> {
    const { repository } = process
    const term = await this.#term(process)
    const from = repository.catalog.generation!.to
    const to = positionOf(from + 16n)
    const index = await this.#object(
      process,
      indexName(1, 0, from, to, this.#randomness.bytes(4).toString('hex')),
    )
    await this.#append(process, segmentsOf(term, from, to, index))
  }

  async #base(process: Process): Promise<void> {
    const { catalog } = process.repository
    const at = positionText(catalog.generation!.to)
    const base = this.#randomness.uuid()
    const object = await this.#object(process, `schema/g1/${'0'.repeat(16)}-${base}.schema`)
    await this.#append(process, { kind: 'schema', generation: 1, at, snapshot: '1:1:', object })
    await this.#append(process, baseOf(base, at))
  }

  /** What keepers do, several at once: each decides by what it knows. */
  async #retention(process: Process, task: 'retire' | 'undo' | 'remove'): Promise<void> {
    const { catalog } = process.repository
    const last = catalog.retirements.findLast((one) => !one.isRemoved)
    if (task === 'undo' && last !== undefined)
      return this.#append(process, { kind: 'retire-undone', id: last.id })
    if (task === 'remove' && last !== undefined)
      return this.#append(process, { kind: 'removed', id: last.id })
    const base = catalog.generation!.bases.at(-1)
    if (task !== 'retire' || base === undefined) return
    const removeAfter = new Date(this.#clock.now()).toISOString()
    await this.#append(
      process,
      retireOf(this.#randomness.uuid(), base.id, positionText(base.from), removeAfter),
    )
  }

  /** What everybody reads now is what the model allows. */
  async check(): Promise<void> {
    this.tape.end()
    const repository = await this.open(this.primary)
    const catalog = new Catalog(() => Promise.reject(new Error('no page is needed')))
    const said: EntryBody[] = []
    for await (const { entry, faults } of proveLedger(repository.ledger, undefined)) {
      expect(faults, `checkpoint ${entry.number}`).toEqual([])
      catalog.apply(entry)
      if (entry.body !== undefined) said.push(entry.body)
    }
    expect(repository.catalog.root(0n, '', []), 'from a checkpoint, and from all entries').toEqual(
      catalog.root(0n, '', []),
    )
    for (const [which, starting] of this.#processes) {
      const process = await starting
      await process.repository.ledger.refresh()
      const root = process.repository.catalog.root(0n, '', [])
      expect(root, `as process ${which} knows it`).toEqual(catalog.root(0n, '', []))
    }
    const counts = new Map<string, number>()
    for (const body of said) counts.set(canonicalize(body), (counts.get(canonicalize(body)) ?? 0) + 1)
    for (const body of this.#acknowledged)
      expect(counts.get(canonicalize(body)) ?? 0, `acknowledged: ${canonicalize(body)}`).toBeGreaterThan(0)
    for (const [text, count] of counts) {
      const { kind } = JSON.parse(text) as EntryBody
      if (
        [
          'genesis',
          'generation',
          'claim',
          'checkpoint',
          'detour',
          'heartbeat',
          'retire-undone',
          'removed',
          'gap-closed',
        ].includes(kind)
      )
        continue
      expect(count, `once and no more: ${text}`).toBe(1)
      expect(this.#tried.has(text), `somebody wrote it: ${text}`).toBe(true)
    }
    await this.#checkSegments(repository)
    await this.#checkCopy(repository)
  }

  /** Every cut that was acknowledged can be read, each once, without a hole. */
  async #checkSegments(repository: Repository): Promise<void> {
    const read: EntryOf<'segments'>[] = []
    for await (const { body } of repository.catalog.generation!.segments.segments(() => true)) read.push(body)
    for (const [i, body] of read.entries())
      if (i > 0) expect(body.from, 'each continues the one before').toBe(read[i - 1]!.to)
    const { floor } = repository.catalog
    const names = read.map(({ index }) => index.name)
    for (const body of this.#acknowledged)
      if (body.kind === 'segments' && (floor === undefined || parsePosition(body.from) >= floor.before))
        expect(
          names.filter((name) => name === body.index.name),
          'acknowledged, so it can be read',
        ).toHaveLength(1)
  }

  async #checkCopy(repository: Repository): Promise<void> {
    await this.#mirror(repository, this.copy)
    const copied = await this.open(this.copy)
    expect(copied.ledger.headHash, 'the copy says the same').toBe(repository.ledger.headHash)
  }
}

function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString()
}

function uuid(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
}

const signer: Signer = { id: 'w', privateKey: keys.privateKey }
