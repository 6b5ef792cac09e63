/**
 * A backup whose change log is a broker in memory: source, store, keys and target in memory too, and processes as `up`, `replicator`
 * and `compactor` run them, which can be killed, stopped and drained.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { MemoryCutGroup } from '../../services/adapters/direct/memory-cut-board.ts'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'
import { MemoryTarget } from '../../services/engines/memory/memory-target.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import type { ObjectStore } from '../../services/core/ports/object-store.ts'
import { type Position, positionText } from '../../services/core/position.ts'
import { planRestore } from '../../services/rebuild/plan.ts'
import { resolvePoint } from '../../services/history/point.ts'
import type { Point } from '../../services/history/point-text.ts'
import { Rebuild } from '../../services/rebuild/rebuild.ts'
import { createLedger } from '../../services/repository/genesis.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { type LoggedConfig, LogProcess, type ProcessHome, type Role } from './log-process.ts'
import type { MemoryKafka } from './memory-kafka.ts'
import { Link } from './memory-link.ts'
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'

export interface LoggedBackupOptions {
  readonly broker: MemoryKafka
  readonly registryUrl: string
  readonly prefix: string
  readonly acknowledge: 'segment' | 'log'
  readonly segmentBytes: number
  readonly tables: readonly MemoryTable[]
}

export class LoggedBackup implements ProcessHome {
  readonly options: LoggedBackupOptions
  readonly source: MemorySource
  readonly store = new MemoryStore()
  /** Those that run. */
  readonly processes = new Set<LogProcess>()
  readonly all: LogProcess[] = []
  readonly stream = randomUUID()
  /** What an operator sets. */
  prefix: string
  #watching: Repository | undefined
  readonly group = new MemoryCutGroup(LANES)
  readonly #open: (store: ObjectStore) => Promise<Repository>

  private constructor(
    options: LoggedBackupOptions,
    open: (store: ObjectStore, stream: string) => Promise<Repository>,
  ) {
    this.options = options
    this.prefix = options.prefix
    this.source = new MemorySource(options.tables)
    this.#open = (store) => open(store, this.stream)
  }

  static async create(options: LoggedBackupOptions): Promise<LoggedBackup> {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const signer = { id: 'writer', privateKey }
    const publicText = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const signers = [{ id: 'writer', role: 'keeper' as const, publicKey: publicText }]
    const provider = new MemoryKeys(systemRandomness)
    let genesis = ''
    const backup = new LoggedBackup(options, (store, stream) =>
      Repository.open({
        stores: Replicas.alone(store),
        trust: { stream, genesis, signers },
        provider,
        signer,
        clock: systemClock,
        randomness: systemRandomness,
      }),
    )
    const { stream } = backup
    genesis = await createLedger(
      backup.store,
      systemClock,
      { kind: 'genesis', stream, signers, recipients: [...provider.recipients] },
      signer,
    )
    await backup.beginGeneration(await backup.reader(), 'test')
    return backup
  }

  /** A fresh process that only reads; or, through a link, one that can be stopped. */
  reader(link?: Link): Promise<Repository> {
    return this.#open(link === undefined ? this.store : through(this.store, link))
  }

  /** What the ledger says now. */
  async catalog(): Promise<Repository['catalog']> {
    this.#watching ??= await this.reader()
    await this.#watching.ledger.refresh()
    return this.#watching.catalog
  }

  /** For whoever looks for a fault: what was ordered last, and what was answered. */
  lastPosts(): string {
    return this.group.posts
      .slice(-8)
      .map((body) => {
        const { kind, term, number, lane, first, last, to, error } = JSON.parse(
          body.subarray(0, body.indexOf(10)).toString('utf8'),
        ) as Record<string, unknown>
        return kind === 'order'
          ? `order ${String(term)}.${String(number)} in lane ${String(lane)}: units ${String(first)}-${String(last)} to ${String(to)}`
          : `answer ${String(term)}.${String(number)}: ${error === null ? 'made' : JSON.stringify(error)}`
      })
      .join(', ')
  }

  /** @param fresh why a person wants a new generation */
  start(role: Role, fresh?: string): LogProcess {
    const link = new Link(this.options.broker, () => this.group.member())
    const process = new LogProcess(this, role, link, fresh)
    this.processes.add(process)
    this.all.push(process)
    void process.over.finally(() => this.processes.delete(process))
    return process
  }

  config(link: Link): LoggedConfig {
    const { prefix } = this
    const { acknowledge, registryUrl } = this.options
    return {
      path: '',
      source: {} as LoggedConfig['source'],
      storeUrl: '',
      keys: '',
      roll: { ageMs: 20, segmentBytes: this.options.segmentBytes },
      http: { host: '', port: 0, compactorPort: 0 },
      logLevel: 'error',
      kafka: {
        brokers: ['memory:1'],
        prefix,
        partitions: LANES,
        replicationFactor: 1,
        acknowledge,
        tombstones: false,
        partitionBy: new Map(),
        registry: { url: registryUrl, user: undefined, password: undefined },
        tls: undefined,
        sasl: undefined,
        clients: link,
      },
    }
  }

  /** As `up` does where the source is ahead of all that is left: a hole, and behind it a new generation. */
  async beginGeneration(repository: Repository, reason: string): Promise<void> {
    const old = repository.catalog.generation
    if (old !== undefined)
      await repository.append({
        kind: 'gap',
        generation: old.facts.generation,
        id: randomUUID(),
        from: positionText(old.end),
        to: null,
        reason,
        scope: { kind: 'stream' },
      })
    await repository.append({
      kind: 'generation',
      generation: (old?.facts.generation ?? 0) + 1,
      engine: 'memory',
      origin: {},
      database: 'memory',
      encoding: 'UTF8',
      serverVersion: 180000,
      timeline: 1,
      consistentPoint: positionText(await this.source.head()),
      firstTransaction: '1',
      reason,
    })
  }

  async restore(at: Position | 'latest'): Promise<MemoryTarget> {
    await this.catalog()
    const repository = this.#watching!
    const point: Point = at === 'latest' ? { kind: 'latest' } : { kind: 'position', position: at }
    const plan = await planRestore(repository, memoryDialect, await resolvePoint(repository, point))
    const target = new MemoryTarget()
    await new Rebuild({
      repository,
      target,
      plan,
      clock: systemClock,
      randomness: systemRandomness,
      events: {},
    }).run('test', new AbortController().signal)
    return target
  }
}

/** Partitions of a table. */
export const LANES = 2

/** The store as a process has it that can be stopped, or is gone. */
function through(store: MemoryStore, link: Link): ObjectStore {
  const step = async <T>(action: () => Promise<T>): Promise<T> => {
    await link.turn()
    const result = await action()
    await link.turn()
    return result
  }
  return {
    place: store.place,
    putIfAbsent: (name, chunks) => step(() => store.putIfAbsent(name, chunks)),
    get: (name, range) => step(() => store.get(name, range)),
    digest: (name) => step(() => store.digest(name)),
    size: (name) => step(() => store.size(name)),
    list: (prefix) => store.list(prefix),
    remove: (name) => step(() => store.remove(name)),
    kept: (prefix) => store.kept(prefix),
    purge: (object) => step(() => store.purge(object)),
  }
}
