/** The whole pipeline in one process without a server: source, store, keys and target in memory. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { type MemoryRows, MemorySource } from '../../services/engines/memory/memory-source.ts'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'
import { MemoryTarget } from '../../services/engines/memory/memory-target.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { type Randomness, systemClock, systemRandomness } from '../../services/core/clock.ts'
import { comparePositions, type Position, positionText } from '../../services/core/position.ts'
import { tableKey } from '../../services/core/ports/target.ts'
import { BaseCopy } from '../../services/replicator/base-copy.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import { planRestore, type RestorePlan } from '../../services/rebuild/plan.ts'
import { resolvePoint } from '../../services/history/point.ts'
import type { Point } from '../../services/history/point-text.ts'
import { Rebuild } from '../../services/rebuild/rebuild.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { Format1Source, generationInFormat1, writesFormat1 } from './format-1.ts'
import { GENERATION } from './ledger-bench.ts'
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'

/** Turns of the event loop, of which a wait takes some thousands: counted instead of its time, which a busy machine stretches. */
const IDLE_TURNS = 20_000_000

export class MemoryPipeline {
  readonly source: MemorySource
  readonly store: MemoryStore
  readonly #open: () => Promise<Repository>
  repository!: Repository
  #stop = new AbortController()
  #drain = new AbortController()
  #running: Promise<unknown> = Promise.resolve()

  private constructor(
    source: MemorySource,
    store: MemoryStore,
    open: (store: MemoryStore) => Promise<Repository>,
  ) {
    this.source = source
    this.store = store
    this.#open = async () => {
      const repository = await open(this.store)
      if (source instanceof Format1Source && source.isOfFormat1) writesFormat1(repository)
      return repository
    }
  }

  static async create(
    tables: readonly MemoryTable[],
    {
      store = new MemoryStore(),
      keys = systemRandomness,
      onTrust,
      source = new MemorySource(tables),
    }: {
      store?: MemoryStore
      keys?: Randomness
      onTrust?: (trust: TrustedSigners) => void
      source?: MemorySource
    } = {},
  ): Promise<MemoryPipeline> {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const signer = { id: 'writer', privateKey }
    const signers = [
      {
        id: 'writer',
        role: 'keeper' as const,
        publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      },
    ]
    const provider = new MemoryKeys(keys)
    const stream = randomUUID()
    let genesis = ''
    const pipeline = new MemoryPipeline(source, store, (from) =>
      Repository.open({
        stores: Replicas.alone(from),
        trust: { stream, genesis, signers },
        provider,
        signer,
        clock: systemClock,
        randomness: systemRandomness,
      }),
    )
    genesis = await createLedger(
      pipeline.store,
      systemClock,
      { kind: 'genesis', stream, signers, recipients: [...provider.recipients] },
      signer,
    )
    onTrust?.({ stream, genesis, signers })
    pipeline.repository = await pipeline.#open()
    const head = await pipeline.source.head()
    await pipeline.repository.append(
      source instanceof Format1Source
        ? generationInFormat1(positionText(head))
        : { ...GENERATION, consistentPoint: positionText(head) },
    )
    return pipeline
  }

  /** Starts the stream from what the ledger holds, as a fresh process does. */
  async start(segmentBytes: number, checkpointEntries?: number): Promise<void> {
    this.repository = await this.#open()
    const generation = this.repository.catalog.generation!
    const term = await this.repository.claim(0)
    const log = new DirectChangeLog(500)
    this.#stop = new AbortController()
    this.#drain = new AbortController()
    const clock = systemClock
    const randomness = systemRandomness
    const compactor = new Compactor({
      log,
      repository: this.repository,
      generation: 1,
      term,
      policy: { segmentBytes, ageMs: 3_600_000 },
      clock,
      randomness,
      events: {},
      checkpointEntries,
    })
    const replicator = new Replicator({
      records: memoryDialect.records,
      source: this.source,
      log,
      from: generation.endPoint,
      durable: generation.end,
      checked: generation.checked,
      sampleMs: 3_600_000,
      schemaMs: 100,
      reading: undefined,
      clock,
      randomness,
      events: { onGap: () => undefined },
    })
    const hard = this.#stop.signal
    this.#running = Promise.allSettled([
      compactor.run(hard),
      replicator.run(AbortSignal.any([hard, this.#drain.signal])).finally(() => log.end()),
    ])
  }

  async takeBase(): Promise<void> {
    await new BaseCopy({
      source: this.source,
      repository: this.repository,
      generation: 1,
      clock: systemClock,
      randomness: systemRandomness,
      events: {},
    }).base(new AbortController().signal)
  }

  async durable(lsn: Position): Promise<void> {
    for (let turns = 0; comparePositions(this.repository.catalog.generation!.to, lsn) < 0; turns++) {
      if (turns > IDLE_TURNS) throw new Error(`${positionText(lsn)} did not become durable`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** What was received becomes durable. */
  async drain(): Promise<void> {
    this.#drain.abort(new DOMException('drain', 'AbortError'))
    await this.#running
  }

  async crash(): Promise<void> {
    this.#stop.abort(new DOMException('crash', 'AbortError'))
    await this.#running
  }

  /** A fresh process that only reads. */
  async reopen(): Promise<Repository> {
    return (this.repository = await this.#open())
  }

  async plan(at: Position | 'latest'): Promise<RestorePlan> {
    this.repository = await this.#open()
    const point: Point = at === 'latest' ? { kind: 'latest' } : { kind: 'position', position: at }
    return planRestore(this.repository, memoryDialect, await resolvePoint(this.repository, point))
  }

  async restore(plan: RestorePlan, memoryBytes?: number): Promise<MemoryTarget> {
    const target = new MemoryTarget()
    await new Rebuild({
      repository: this.repository,
      target,
      plan,
      clock: systemClock,
      randomness: systemRandomness,
      memoryBytes,
      events: {},
    }).run('test', new AbortController().signal)
    return target
  }
}

/** Rows of both sides as sorted text. */
export function restoredRows(target: MemoryTarget, name: string): string[] {
  return (target.tables.get(tableKey({ schema: 'public', name })) ?? [])
    .map(([id, ...values]) =>
      JSON.stringify([Number(id!.toString()), ...values.map((value) => value?.toString() ?? null)]),
    )
    .sort()
}

export function expectedRows(rows: MemoryRows): string[] {
  return [...rows].map(([id, values]) => JSON.stringify([id, ...values])).sort()
}
