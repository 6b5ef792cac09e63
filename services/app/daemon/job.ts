/** What the parts of a running job share: the backup, what its process does of the work, how the stream stands, and whom to tell. */
import type { SourceAdmin } from '../../core/ports/source-admin.ts'
import { openAdmin } from '../wiring/source-admin.ts'
import { type Clock, type Randomness, systemClock, systemRandomness } from '../../core/clock.ts'
import { type Position, positionText } from '../../core/position.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import type { Anchors } from '../../repository/anchors.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Config } from '../config/config.ts'
import { openLog, type openSource } from '../wiring/compose.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
import type { OnPoint, Say, UpEvent } from './up-events.ts'

/** The whole job, or one side of a Kafka between two processes. */
export type Role = 'both' | 'replicator' | 'compactor'

/** What a process does of the work. */
interface Duties {
  /** Replicates, and copies tables. */
  readonly readsSource: boolean
  /** Writes what is stored into the ledger, and looks after it. */
  readonly compacts: boolean
  /** The claim of its term; the replicator's is not a lane's. */
  readonly claim: number
}

const DUTIES: Readonly<Record<Role, Duties>> = {
  both: { readsSource: true, compacts: true, claim: 0 },
  replicator: { readsSource: true, compacts: false, claim: -1 },
  compactor: { readsSource: false, compacts: true, claim: 0 },
}

export interface UpOptions {
  readonly role?: Role
  readonly config: Config
  readonly repository: Repository
  readonly onEvent: (event: UpEvent) => void
  /** Named points of the write path, for crash tests. */
  readonly onPoint?: (point: string) => void | Promise<void>
  /** Why the old slot is given up. */
  readonly newGeneration?: string | undefined
  readonly anchors?: Anchors
  readonly copies?: readonly OpenedCopy[]
  /** What the anchors say is given up, once `newGeneration` stands in the ledger. */
  readonly lossAccepted?: boolean
  readonly clock?: Clock
}

export class Job {
  readonly config: Config
  readonly repository: Repository
  readonly role: Role
  readonly duties: Duties
  readonly onPoint: OnPoint
  readonly clock: Clock
  readonly randomness: Randomness = systemRandomness
  readonly say: Say
  readonly anchors: Anchors | undefined
  readonly copies: readonly OpenedCopy[]
  lossAccepted: boolean
  #connected = false
  /** Whether the attempt that runs, or was the last, has reached the source and the store. */
  hasConnected = false
  /** Among several compactors one writes the ledger, and looks after what is stored. */
  leads: boolean
  source: ReturnType<typeof openSource> | undefined
  /** What came of the source and what of it is durable, while there is a stream. */
  flow: (() => { readonly received: Position; readonly durable: Position }) | undefined
  #streamingSaid = false

  constructor(options: UpOptions, say: Say) {
    this.config = options.config
    this.repository = options.repository
    this.role = options.role ?? 'both'
    this.duties = DUTIES[this.role]
    this.onPoint = options.onPoint
    this.clock = options.clock ?? systemClock
    this.say = say
    this.anchors = options.anchors
    this.copies = options.copies ?? []
    this.lossAccepted = options.lossAccepted === true
    this.leads = this.role !== 'compactor'
  }

  /** Beside the stream; undefined before the first generation. */
  get admin(): SourceAdmin | undefined {
    const facts = this.repository.catalog.generation?.facts
    if (facts === undefined) return undefined
    return openAdmin({ url: this.config.source.url, names: facts.origin })
  }

  /** Whether the attempt that runs has reached the source and the store. */
  get connected(): boolean {
    return this.#connected
  }

  set connected(connected: boolean) {
    this.#connected = connected
    if (connected) this.hasConnected = true
  }

  claim(): Promise<number> {
    return this.repository.claim(this.duties.claim)
  }

  openLog(generation: Generation, signal: AbortSignal, outline = false): Promise<ChangeLog> {
    const { config, role, repository, say, onPoint } = this
    return openLog({
      config,
      role,
      generation,
      stream: repository.catalog.stream,
      term: Number(repository.claimedAt),
      confirm: () => repository.confirmClaim(),
      outline,
      signal,
      onRetry: (error) => say({ event: 'retry', ...error }),
      onForeign: (place) => say({ event: 'foreign', ...place }),
      onPoint,
    })
  }

  /** The base is durable and the stream runs: said once. */
  streaming({ facts, end }: Generation): void {
    if (this.#streamingSaid) return
    this.#streamingSaid = true
    this.say({ event: 'streaming', generation: facts.generation, position: positionText(end) })
  }
}
