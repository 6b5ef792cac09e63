/**
 * The replicator: source to change log, in order, and beside the rows what only the source knows: the schema after each
 * DDL, samples of sequences, gaps. Acknowledges the source with what the log says is durable, and nothing else.
 */
import type { StreamPoint } from '../core/ports/source.ts'
import type { Clock, Randomness } from '../core/clock.ts'
import { asTidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { laterPosition, type Position } from '../core/position.ts'
import type { ChangeLog } from '../core/ports/change-log.ts'
import type { RecordWords } from '../core/ports/dialect.ts'
import type { Source } from '../core/ports/source.ts'
import type { ControlRecord, GapNotice, TransactionPart } from '../core/transaction.ts'
import { DdlWatch } from './ddl-watch.ts'
import { type KnownReading, SchemaLog } from './schema-log.ts'
import { SequenceWatch } from './sequence-watch.ts'
import { SourceMoments } from './source-moments.ts'

export interface ReplicatorEvents {
  /** A table's rows cannot be carried over a schema change; it has to be read again. */
  onGap(gap: GapNotice): void
  /** Tables whose schema changed without a record, and none could be made: what is said of them is not complete. Empty: mended. */
  onUntold?(tables: readonly string[]): void
  /** A table's replica identity or its place in the stream was changed, or is locked: `outcome` as in the port. */
  onIdentity?(table: string, outcome: string): void
}

export interface ReplicatorOptions {
  readonly source: Source
  readonly records: RecordWords
  readonly log: ChangeLog
  readonly from: StreamPoint
  /** What the store holds. */
  readonly durable: Position
  /** Up to here every schema change is known to have its record. */
  readonly checked: Position
  /** Tables with an open gap in the ledger. */
  readonly inGap?: ReadonlySet<number>
  readonly sampleMs: number
  /** Pause between two readings of the schema. */
  readonly schemaMs: number
  /** The ledger's newest reading of the schema. */
  readonly reading: KnownReading | undefined
  /** Stops at once, where `run`'s own signal leaves the time to read a schema that changed. */
  readonly hard?: AbortSignal
  readonly clock: Clock
  readonly randomness: Randomness
  readonly events: ReplicatorEvents
}

export class Replicator {
  readonly #options: ReplicatorOptions
  readonly #watch: DdlWatch
  readonly #sequences: SequenceWatch
  #received: StreamPoint
  /** The newest sample of sequences that was recorded; undefined before the first: what an earlier process received last may have none. */
  #sampled: { readonly at: Position; readonly checked: boolean } | undefined
  /** Up to here the catalog agreed with the DDL records, as far as the stream has told. */
  #checked: Position
  /** Transactions in which missing records were made; until they have come, nothing counts as checked. */
  readonly #repairing = new Set<string>()
  /** Such transactions that have come: the stream may be faster than the answer that names them. */
  readonly #repaired = new Set<string>()
  /** Tables that are left out of the stream, with a gap that says so. */
  readonly #leftOut: Set<number>
  /** Tables with a row that was too large to be taken, whose gap no copy that has begun will close: one is enough. */
  readonly #refused = new Set<number>()
  readonly #copying = new Set<number>()
  readonly #moments = new SourceMoments()
  #untold = ''
  readonly #schema: SchemaLog
  #failure: { readonly error: unknown } | undefined

  constructor(options: ReplicatorOptions) {
    this.#options = options
    this.#received = options.from
    this.#checked = options.checked
    this.#watch = new DdlWatch(options.records, options.randomness)
    this.#sequences = new SequenceWatch(options.clock)
    this.#leftOut = new Set(options.inGap)
    this.#schema = new SchemaLog(options)
  }

  /** End of the last transaction that came whole. */
  get received(): Position {
    return this.#received.position
  }

  /** Ends by the signal or with the first failure; the log is not ended by it (its owner decides). */
  async run(signal: AbortSignal): Promise<void> {
    const { source, log, from, hard = signal } = this.#options
    let reading: Promise<void> | undefined
    const stop = new AbortController()
    const inner = AbortSignal.any([signal, stop.signal])
    source.acknowledge(this.#options.durable)
    const off = log.onAcknowledgeable((end) => source.acknowledge(end))
    const sampling = this.#sample(inner)
    sampling.catch((error: unknown) => this.#fail(error, stop))
    try {
      // What a crash left unread is read now: nothing else may tell of it any more.
      this.#schema.want(laterPosition(log.complete.position, this.#options.durable))
      reading = this.#schema.run(inner)
      reading.catch((error: unknown) => this.#fail(error, stop))
      for await (const item of source.stream(from, inner)) {
        if (item.kind === 'gap' && !this.#isNew(item.gap)) continue
        const ends = item.kind === 'changes' && item.end !== undefined
        // Its gaps go before it: a log that keeps the transaction keeps them too.
        if (ends && item.ddl.length > 0) await this.#gaps(item, inner)
        if (ends) this.#schema.passes(item.end!)
        else if (item.kind === 'heartbeat') this.#schema.passes(item.at)
        await log.append(item.kind === 'heartbeat' ? this.#dated(item) : item, inner)
        if (ends) this.#committed(item)
      }
    } catch (error) {
      throw this.#failure?.error ?? error
    } finally {
      stop.abort(new DOMException('stopped', 'AbortError'))
      off()
      await Promise.allSettled([sampling, reading])
      if (this.#failure === undefined && !hard.aborted) await this.#schema.settle(hard)
    }
  }

  /**
   * A copy of the table begins, or is over. While it goes on every row that is not taken is a gap of its own: its snapshot
   * may stand before the row.
   */
  copying(oid: number, isUnderWay: boolean): void {
    this.#refused.delete(oid)
    if (isUnderWay) this.#copying.add(oid)
    else this.#copying.delete(oid)
  }

  /** A gap that the source tells. */
  #isNew(gap: GapNotice): boolean {
    if (gap.scope.kind === 'table') {
      const { oid } = gap.scope
      if (this.#refused.has(oid)) return false
      if (!this.#copying.has(oid)) this.#refused.add(oid)
    }
    this.#options.events.onGap(gap)
    return true
  }

  async #gaps(part: TransactionPart, signal: AbortSignal): Promise<void> {
    const gaps = this.#watch.gapsOf(part, this.#checked)
    for (const record of part.ddl) {
      const transaction = this.#options.records.repairedIn(record)
      if (transaction !== undefined) this.#repaired.add(transaction)
    }
    for (const gap of gaps) {
      if (gap.reason === this.#options.records.leftOut && gap.scope.kind === 'table')
        this.#leftOut.add(gap.scope.oid)
      await this.#options.log.append({ kind: 'gap', gap }, signal)
      this.#options.events.onGap(gap)
    }
  }

  /** With the time up to which nothing is missing below it. */
  #dated(heartbeat: ControlRecord & { kind: 'heartbeat' }): ControlRecord {
    this.#moments.reach(heartbeat.at)
    const { asOf } = this.#moments
    return asOf === undefined ? heartbeat : { ...heartbeat, asOf }
  }

  #committed(part: TransactionPart): void {
    this.#received = { position: part.end!, resume: part.resume }
    this.#moments.reach(part.end!)
    if (part.ddl.length > 0) this.#schema.want(part.head.position)
  }

  /**
   * What no row tells: identities, the catalog, sequences. One after the other, so that what one of them records is known to
   * the next. Questions take at most a twentieth of the source's time.
   */
  async #sample(signal: AbortSignal): Promise<void> {
    const { clock, sampleMs } = this.#options
    const pollMs = Math.min(sampleMs, LIMITS.identityPollMs)
    let pause = pollMs
    // Comparing a large catalog takes long. Sequences do not wait for it: what no sample tells, a restore has to guess.
    let compareDue = clock.elapsed() + sampleMs
    let sampleDue = compareDue
    for (;;) {
      await clock.sleep(pause, signal)
      const asked = clock.elapsed()
      const at = this.#received.position
      this.#moments.see(await this.#options.source.moment())
      await this.#tend(signal)
      // Never for long, however slow the source is: the application's UPDATE may be failing meanwhile.
      pause = Math.min(Math.max(pollMs, 20 * (clock.elapsed() - asked)), 5 * LIMITS.identityPollMs)
      const isCompared = clock.elapsed() >= compareDue
      if (!isCompared && clock.elapsed() < sampleDue) continue
      const checked = isCompared && (await this.#compare(at))
      if (isCompared) compareDue = this.#after(asked)
      const sampling = clock.elapsed()
      await this.#samples(at, checked, signal)
      sampleDue = this.#after(sampling)
    }
  }

  /** When to ask again what was asked from `began` on. */
  #after(began: number): number {
    const { clock, sampleMs } = this.#options
    return clock.elapsed() + Math.max(sampleMs, 20 * (clock.elapsed() - began))
  }

  /** Whether what the catalog says, behind the last transaction that was received, has its records; else it gets them now. */
  async #compare(at: Position): Promise<boolean> {
    const { source, log } = this.#options
    const checked = await this.#check(at)
    if (await source.isReadingOld()) this.#schema.look()
    const reading = this.#schema.durableReading(log.durable)
    if (reading !== undefined) await source.forgetDdl(log.durable, reading)
    return checked
  }

  /** After the last transaction that was received: what the sequences say then is at least what it used. */
  async #samples(at: Position, checked: boolean, signal: AbortSignal): Promise<void> {
    const { source, log } = this.#options
    const before = this.#sampled
    if (before?.at === at && (before.checked || !checked)) return
    const sampled = this.#sequences.sample(at, await source.sequences())
    await log.append({ kind: 'sequences', ...sampled, checked }, signal)
    this.#sampled = { at, checked }
  }

  /** Identities first; then a gap for each table that is left out, whoever did it, unless there is one. */
  async #tend(signal: AbortSignal): Promise<void> {
    const { source, log, events, randomness } = this.#options
    const { recorded, changes } = await source.tendIdentities()
    for (const id of recorded) this.#repairing.add(id)
    for (const { table, outcome } of changes) events.onIdentity?.(table, outcome)
    // Its own record tells it better.
    if (this.#awaitsRecords()) return
    const tables = await source.leftOut()
    const now = new Set(tables.map((table) => table.oid))
    for (const oid of this.#leftOut) if (!now.has(oid)) this.#leftOut.delete(oid)
    for (const { oid, schema, name } of tables) {
      if (this.#leftOut.has(oid)) continue
      this.#leftOut.add(oid)
      const gap: GapNotice = {
        id: randomness.uuid(),
        from: this.#checked,
        reason: this.#options.records.leftOut,
        scope: { kind: 'table', oid, schema, name },
      }
      await log.append({ kind: 'gap', gap }, signal)
      const { position, resume } = this.#received
      // No transaction may follow for long: all that was received is in front of this, and nothing is left to wait for.
      await log.append({ kind: 'heartbeat', at: position, resume }, signal)
      events.onGap(gap)
    }
  }

  #awaitsRecords(): boolean {
    for (const id of this.#repairing) if (this.#repaired.delete(id)) this.#repairing.delete(id)
    return this.#repairing.size > 0
  }

  /** Whether every schema change up to `at` has its record, and the stream has brought those that were made just now. */
  async #check(at: Position): Promise<boolean> {
    if (this.#awaitsRecords()) return false
    const { recorded, failed } = await this.#options.source.repairCatalog()
    if (recorded !== undefined) this.#repairing.add(recorded)
    const untold = failed.join(', ')
    if (untold !== this.#untold) this.#options.events.onUntold?.(failed)
    this.#untold = untold
    if (recorded !== undefined || failed.length > 0) return false
    this.#checked = at
    return true
  }

  #fail(error: unknown, stop: AbortController): void {
    if (asTidemarkError(error).code === 'INTERRUPTED') return
    this.#failure ??= { error }
    stop.abort(new DOMException('failed', 'AbortError'))
  }
}
