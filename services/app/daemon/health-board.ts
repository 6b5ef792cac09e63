/** What health and metrics say: from what the process knows and has seen, never by asking source or store. */
import type { Clock } from '../../core/clock.ts'
import type { Position } from '../../core/position.ts'
import { damageOfNewest } from '../../repository/damage-of-newest.ts'
import { gapEnd } from '../../repository/gap-end.ts'
import type { Repository } from '../../repository/repository.ts'
import { type Protection, protection, WaitingChanges } from '../operations/protection.ts'
import type { SourceReading } from './source-gauge.ts'
import { lagOf } from '../operations/status.ts'
import type { UpEvent } from './up-events.ts'

interface CopyState {
  readonly place: string
  /** Its last try worked. */
  readonly isUp: boolean
  /** Ledger entries that it lacks; NaN before the first try. */
  readonly behindEntries: number
}

export interface HealthReading {
  readonly stopping: boolean
  readonly streaming: boolean
  readonly protection: Protection
  readonly durableAgeSeconds: number
  readonly lagBytes: number
  readonly openGaps: number
  readonly damagedObjects: number
  readonly budgetSeconds: number
  readonly copies: readonly CopyState[]
  /** Seconds since each was done, NaN where it never was. */
  readonly ages: {
    readonly anchor: number
    readonly base: number
    readonly scrub: number
    readonly attested: number
  }
  /** By the code of the error, since the process began. */
  readonly retries: ReadonlyMap<string, number>
  readonly storeErrors: ReadonlyMap<string, number>
}

export interface HealthBoardOptions {
  readonly repository: Repository
  /** What only the source knows: undefined where it does not answer, and in a compactor, which does not ask it. */
  readonly source: () => SourceReading | undefined
  /** What came and what is durable of it; undefined while there is no stream, and in a compactor. */
  readonly flow: () => { readonly received: Position; readonly durable: Position } | undefined
  /** Whether the job is connected and at work: between its tries nothing streams. */
  readonly isConnected: () => boolean
  /** Nothing more is begun. */
  readonly isStopping: () => boolean
  readonly rollMs: number
  readonly clock: Clock
}

/** What was tried again counts as the trouble of now for so long, ms: pauses between tries are shorter. */
const TROUBLE_MS = 60_000

export class HealthBoard {
  readonly #options: HealthBoardOptions
  readonly #waiting = new WaitingChanges()
  readonly #copies = new Map<string, { isUp: boolean; entry: bigint | undefined }>()
  readonly #retries = new Map<string, number>()
  readonly #storeErrors = new Map<string, number>()
  #trouble: { readonly text: string; readonly at: number } | undefined
  /** What the next start would refuse. */
  #unfit: string | undefined
  #anchoredAt: number | undefined
  #streaming = false

  constructor(options: HealthBoardOptions) {
    this.#options = options
  }

  see(event: UpEvent): void {
    const { clock } = this.#options
    switch (event.event) {
      case 'streaming':
        this.#streaming = true
        break
      case 'retry':
        count(this.#retries, event.code)
        if (event.code.startsWith('STORE_')) count(this.#storeErrors, event.code)
        this.#trouble = { text: `${event.code}: ${event.message}`, at: clock.elapsed() }
        break
      case 'durable':
        this.#trouble = undefined
        break
      case 'source-fitness':
        this.#unfit = event.trouble === null ? undefined : `${event.trouble.code}: ${event.trouble.message}`
        break
      case 'copy-failed':
        count(this.#storeErrors, event.code)
        this.#copies.set(event.place, { isUp: false, entry: this.#copies.get(event.place)?.entry })
        break
      default:
    }
  }

  /** A copy has everything up to this entry of the ledger. */
  copied(place: string, entry: bigint): void {
    this.#copies.set(place, { isUp: true, entry })
  }

  /** The ledger's head stands in every anchor. */
  anchored(): void {
    this.#anchoredAt = this.#options.clock.now()
  }

  /** From time to time, so that waiting is noticed while nobody asks. */
  look(): void {
    const flow = this.#options.flow()
    if (flow !== undefined) this.#waiting.see(flow.received, flow.durable, this.#options.clock.elapsed())
  }

  facts(): HealthReading {
    const { repository, source, isStopping, clock, rollMs } = this.#options
    this.look()
    const { generation, gaps, scrubbed, damage, floor } = repository.catalog
    const reading = source()
    const now = clock.now()
    const age = (instant: string | number | undefined): number =>
      instant === undefined ? Number.NaN : Math.max(0, (now - new Date(instant).getTime()) / 1000)
    return {
      stopping: isStopping(),
      streaming: this.#streaming && this.#options.isConnected(),
      protection: protection(generation, {
        sourceNow: now + (reading?.aheadMs ?? 0),
        waitingMs: this.#waiting.sinceMs(clock.elapsed()),
        rollMs,
        damaged: damageOfNewest(repository).length,
        unfit: this.#unfit,
        trouble:
          this.#trouble !== undefined && clock.elapsed() - this.#trouble.at <= TROUBLE_MS
            ? this.#trouble.text
            : undefined,
      }),
      durableAgeSeconds: age(generation?.lastWrittenAt),
      lagBytes:
        generation === undefined || reading === undefined
          ? Number.NaN
          : lagOf(reading.head, generation, now).bytes,
      openGaps: gaps.filter((gap) => gapEnd(repository.catalog, gap) === undefined).length,
      damagedObjects: damage.above(floor).length + damage.more,
      budgetSeconds: reading === undefined ? Number.NaN : budgetSecondsOf(reading),
      copies: [...this.#copies].map(([place, { isUp, entry }]) => ({
        place,
        isUp,
        behindEntries:
          entry === undefined ? Number.NaN : Math.max(0, Number(repository.ledger.headNumber - entry)),
      })),
      ages: {
        anchor: age(this.#anchoredAt),
        base: age(generation?.bases.at(-1)?.writtenAt),
        scrub: age(scrubbed?.writtenAt),
        attested: age(generation?.attestations.at(-1)?.writtenAt),
      },
      retries: this.#retries,
      storeErrors: this.#storeErrors,
    }
  }
}

function count(counts: Map<string, number>, code: string): void {
  counts.set(code, (counts.get(code) ?? 0) + 1)
}

function budgetSecondsOf({ safeBytes, walBytesPerSecond }: SourceReading): number {
  if (safeBytes === undefined) return Number.POSITIVE_INFINITY
  if (walBytesPerSecond === undefined) return Number.NaN
  return walBytesPerSecond === 0 ? Number.POSITIVE_INFINITY : Math.max(0, safeBytes / walBytesPerSecond)
}
