/**
 * The compactor: reads the change log, rolls segments, seals and stores them, writes the ledger entry, and only then
 * says "durable" (invariants 1-3). One cut may be stored while the next one is filled; entries go out in order.
 */
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { comparePositions, laterPosition, ORIGIN, type Position, positionText } from '../core/position.ts'
import { isBefore } from '../core/snapshot.ts'
import {
  type ControlRecord,
  hasDdl,
  mergeSamples,
  type SchemaChange,
  type SchemaFacts,
  type TransactionPart,
} from '../core/transaction.ts'
import type { EntryBody } from '../formats/ledger-entry.ts'
import { LANE } from './cut-objects.ts'
import type { CompactorOptions } from './compactor-options.ts'
import { CutStore } from './cut-store.ts'
import { OpenCut } from './open-cut.ts'
import { decideRoll, readingPatienceMs, sealAllowanceMs } from './roll-policy.ts'
import { CompressionGate } from './segment-builder.ts'

export class Compactor {
  readonly #options: CompactorOptions
  readonly #gate = new CompressionGate()
  #cut: OpenCut
  /** Parts of a transaction that is not complete and not yet known to be large. */
  #staged: TransactionPart[] = []
  #stagedBytes = 0
  /** A large transaction is going straight into the cut: no cut before its end. */
  #inLarge = false
  #hasCaughtUp = false
  /** The open cut ends with a large transaction: it goes out at once. */
  #endedLarge = false
  /** The newest transaction with DDL that was read, and the newest one that a reading of the schema has seen. */
  #ddlSeen: Position = ORIGIN
  #ddlCovered: Position = ORIGIN
  /** The age of the open cut was over then, and this is the newest DDL that it had: it waits a little for its reading. */
  #due: { readonly at: number; readonly ddl: Position } | undefined
  /** Cuts being stored, in order. */
  #storing: Promise<void> = Promise.resolve()
  #inFlight = 0
  readonly #stores = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  /** The size alone does not end a cut before its unit ends. */
  #endsWithUnit = false
  #failure: { readonly error: unknown } | undefined
  /** With one cut, those beside it are left: they may wait for what will not come any more, and must not write under a later claim. */
  readonly #failed = new AbortController()
  #store: CutStore

  constructor(options: CompactorOptions) {
    this.#options = options
    this.#store = new CutStore(options, new AbortController().signal)
    this.#cut = this.#open(this.#generation.to)
  }

  get #generation() {
    const found = this.#options.repository.catalog.generations.find(
      (g) => g.facts.generation === this.#options.generation,
    )
    if (found === undefined) throw new Error('unreachable: the generation is in the ledger')
    return found
  }

  /** Runs until the log ends (then everything is durable) or something fails. */
  async run(signal: AbortSignal): Promise<void> {
    this.#store = new CutStore(this.#options, AbortSignal.any([signal, this.#failed.signal]))
    const { log } = this.#options
    try {
      for await (const item of log.read(signal)) {
        if (this.#failure !== undefined) throw this.#failure.error
        if (item.kind === 'changes') await this.#part(item)
        else await this.#control(item)
        if (this.#gate.isFull) await this.#gate.room()
      }
      await this.#flush()
      await Promise.all(this.#stores)
      if (this.#failure !== undefined) throw this.#failure.error
    } catch (error) {
      const first = this.#failure === undefined ? error : this.#failure.error
      log.fail(first)
      throw first
    } finally {
      clearTimeout(this.#timer)
      // What was read is stored all the same, though no more can be read: a log that fails again and again gets further.
      await Promise.allSettled(this.#stores)
    }
  }

  #open(from: Position): OpenCut {
    return new OpenCut(from, this.#options.clock.elapsed(), this.#gate)
  }

  async #part(part: TransactionPart): Promise<void> {
    // Who reads a cut from the log reads whole units of it: one that ends with a unit leaves none to be read twice.
    if (
      part.outline !== undefined &&
      this.#isWhole &&
      this.#cut.rawBytes >= this.#options.policy.segmentBytes &&
      part.place?.at !== this.#cut.place?.at
    )
      await this.#roll()
    this.#endsWithUnit = part.outline !== undefined
    const now = this.#options.clock.elapsed()
    if (this.#inLarge) {
      this.#cut.add(part, now)
      if (part.end === undefined) {
        if (this.#cut.builder.rawBytes >= this.#options.policy.segmentBytes)
          await this.#finishSegment(this.#cut)
        return
      }
      this.#inLarge = false
      if (hasDdl(part)) this.#ddlSeen = part.head.position
      this.#endedLarge = true
      if (this.#decide() === 'cut') await this.#roll()
      else this.#arm()
      return
    }
    this.#staged.push(part)
    this.#stagedBytes += part.changes.bytes.length
    if (part.end === undefined) {
      if (this.#stagedBytes < LIMITS.largeTransactionBytes) return
      // Large: what came before becomes durable on its own.
      if (!this.#cut.isEmpty) await this.#roll()
      this.#inLarge = true
    }
    for (const staged of this.#staged) this.#cut.add(staged, now)
    this.#staged = []
    this.#stagedBytes = 0
    if (this.#inLarge) {
      if (this.#cut.builder.rawBytes >= this.#options.policy.segmentBytes)
        await this.#finishSegment(this.#cut)
      return
    }
    if (hasDdl(part)) this.#ddlSeen = part.head.position
    this.#arm()
    if (this.#decide() === 'cut') await this.#roll()
  }

  async #control(record: ControlRecord): Promise<void> {
    switch (record.kind) {
      case 'sequences':
        if (this.#cut.isEmpty) {
          await this.#standing()
          await this.#store.sequences(record)
        } else {
          if (record.checked) this.#cut.checked = record.at
          const earlier = this.#cut.sequences
          this.#cut.sequences = earlier === undefined ? record : mergeSamples(earlier, record)
        }
        break
      case 'schema':
      case 'schema-change':
        await this.#schema(record)
        break
      case 'marker':
        this.#cut.markers.push({ at: record.at, name: record.name })
        break
      case 'heartbeat':
        await this.#heartbeat(record)
        break
      case 'gap':
        this.#cut.gaps.push(record.gap)
        break
      default:
        throw unknownRecord(record)
    }
  }

  async #schema(record: ControlRecord & { kind: 'schema' | 'schema-change' }): Promise<void> {
    const read = record.kind === 'schema' ? record.facts : record.change
    this.#ddlCovered = laterPosition(this.#ddlCovered, record.covers)
    if (this.#isStored(read)) return
    if (this.#cut.isEmpty && this.#staged.length === 0) {
      // Of a cut that went out before it, or of a process before this one.
      await this.#standing()
      await this.#store.schema(read, this.#generation.to)
    } else {
      this.#cut.schemas.push(read)
      if (this.#decide() === 'cut') await this.#roll()
    }
  }

  /** A log that is read again brings readings again. An older one than the newest counts: the next goes on from it. */
  #isStored({ reading, snapshot }: SchemaFacts | SchemaChange): boolean {
    const { schemas } = this.#generation
    const newest = schemas.at(-1)
    if (reading !== undefined) return schemas.some(({ body }) => body.reading === reading)
    return newest !== undefined && isBefore(snapshot, newest.body.snapshot)
  }

  /** Whether the cut may end here. */
  get #isWhole(): boolean {
    return !this.#inLarge && this.#staged.length === 0
  }

  #decide(): 'cut' | 'wait' {
    if (this.#inLarge) return 'wait'
    if (this.#endedLarge) return 'cut'
    const { policy, clock } = this.#options
    const cut = this.#cut
    const now = clock.elapsed()
    const rawBytes = this.#endsWithUnit ? 0 : cut.rawBytes
    const transactions = cut.transactions.length
    const ageMs = cut.firstAt === undefined ? 0 : now - cut.firstAt
    if (decideRoll(policy, { rawBytes, transactions, ageMs }) === 'wait') return 'wait'
    // Rows never wait for a quiet catalog: a reading that comes later serves the points before it as well. A little
    // patience keeps a change and the reading that saw it together where that costs nobody anything.
    if (rawBytes >= policy.segmentBytes) return 'cut'
    this.#due ??= { at: now, ddl: this.#ddlSeen }
    const isCovered = comparePositions(this.#ddlCovered, this.#due.ddl) >= 0
    return isCovered || now - this.#due.at >= readingPatienceMs(policy) ? 'cut' : 'wait'
  }

  /** One timer for the age of the open cut. */
  #arm(): void {
    if (this.#timer !== undefined || this.#cut.firstAt === undefined) return
    const { policy, clock } = this.#options
    const wait = this.#cut.firstAt + policy.ageMs - sealAllowanceMs(policy) - clock.elapsed()
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        if (this.#cut.firstAt === undefined || this.#failure !== undefined) return
        if (this.#decide() === 'cut') this.#roll().catch((error: unknown) => this.#fail(error))
        else this.#arm()
      },
      Math.max(20, wait),
    )
  }

  /** Closes the cut and begins to store it; waits only while too many are being stored. */
  async #roll(): Promise<void> {
    const cut = this.#cut
    const last = cut.transactions.at(-1)
    if (last === undefined) return
    this.#cut = this.#open(last.position)
    this.#endedLarge = false
    this.#due = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#inFlight++
    const before = this.#storing
    const stored: Promise<void> = this.#store.store(cut, before).finally(() => {
      this.#inFlight--
      this.#stores.delete(stored)
    })
    this.#stores.add(stored)
    this.#storing = stored
    stored.catch((error: unknown) => this.#fail(error))
    if (this.#inFlight >= (this.#options.cutsInFlight ?? LIMITS.segmentsInFlight)) await this.#oldest()
    // A large row is stored before the next one is read.
    if (cut.builder.rawBytes >= LIMITS.largeSegmentBytes) await stored.catch(() => undefined)
  }

  /** The cut that was begun first: its end makes room. */
  async #oldest(): Promise<void> {
    await this.#stores.values().next().value
  }

  /** Everything complete goes out; an incomplete transaction is dropped (it was never acknowledged). */
  async #flush(): Promise<void> {
    if (!this.#inLarge) await this.#roll()
    if (this.#cut.isEmpty) await this.#standing()
  }

  /**
   * Behind the cuts and in front of what is said of an empty one: gaps that no transaction followed, as of a table that is left
   * out. Without them an entry would say that nothing is missing.
   */
  async #standing(): Promise<void> {
    await this.#storing
    for (const gap of this.#cut.gaps.splice(0)) await this.#store.gap(gap)
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#failed.abort(new DOMException('another cut failed', 'AbortError'))
    this.#options.log.fail(this.#failure.error)
  }

  async #finishSegment(cut: OpenCut): Promise<void> {
    // The files of a large transaction are stored as they come, so that memory holds few of them.
    const isLarge = cut.builder.rawBytes >= LIMITS.largeSegmentBytes
    const index = cut.nextSegment(this.#options.randomness)
    cut.finished[index] = this.#store.early(cut, index, cut.finished[index]!)
    if (isLarge) await cut.finished[index]
    else if (index >= LIMITS.segmentsInFlight) await cut.finished[index - LIMITS.segmentsInFlight]
  }

  /** Idle: says that nothing is missing up to `at`, so that the source may drop what it keeps. */
  async #heartbeat({ at, resume, timeline, asOf }: ControlRecord & { kind: 'heartbeat' }): Promise<void> {
    const { repository, generation, term, log, events } = this.#options
    if (!this.#cut.isEmpty || this.#staged.length > 0 || this.#inLarge) return
    await this.#standing()
    const further = comparePositions(at, this.#generation.end)
    if (further < 0 || (further === 0 && !this.#isLater(asOf))) return
    const body: EntryBody = {
      kind: 'heartbeat',
      generation,
      lane: LANE,
      term,
      timeline: timeline ?? this.#generation.timeline,
      end: positionText(at),
      ...(resume === undefined ? {} : { resume }),
      ...(asOf === undefined ? {} : { asOf }),
    }
    await this.#store.retrying(() => repository.append(body))
    log.markDurable(at)
    if (!this.#hasCaughtUp) events.onCaughtUp?.(at)
    this.#hasCaughtUp = true
  }

  /** Of a source that writes nothing, too, it is known from time to time that nothing is missing. */
  #isLater(asOf: string | undefined): boolean {
    if (asOf === undefined) return false
    const known = this.#generation.asOf
    return known === undefined || Date.parse(asOf) - Date.parse(known) >= LIMITS.heartbeatMs / 2
  }
}

/** Passed over, what it says would be missing in the backup without a word. */
function unknownRecord(record: never): TidemarkError {
  const { kind } = record as { readonly kind: unknown }
  return new TidemarkError('LOG_UNKNOWN', `a control record of the kind "${String(kind).slice(0, 40)}"`)
}
