/**
 * The replicator: source to change log, in order, and beside the rows what only the source knows: the schema after each
 * DDL, samples of sequences, gaps. Acknowledges the source with what the log says is durable, and nothing else.
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { asTidemarkError } from '../core/errors.ts'
import { compareLsn, LSN_ZERO, type Lsn } from '../core/position.ts'
import type { ChangeLog } from '../core/ports/change-log.ts'
import type { Source } from '../core/ports/source.ts'
import type { GapNotice, TransactionPart } from '../core/transaction.ts'
import { DdlWatch } from './ddl-watch.ts'
import { SequenceWatch } from './sequence-watch.ts'

export interface ReplicatorEvents {
  /** A table's rows cannot be carried over a schema change; it has to be read again. */
  onGap(gap: GapNotice): void
  /** Tables whose schema changed without a record, and none could be made: what is said of them is not complete. Empty: mended. */
  onUntold?(tables: readonly string[]): void
}

export interface ReplicatorOptions {
  readonly source: Source
  readonly log: ChangeLog
  readonly from: Lsn
  /** What the store holds. */
  readonly durable: Lsn
  /** Up to here every schema change is known to have its record. */
  readonly checked: Lsn
  readonly sampleMs: number
  readonly clock: Clock
  readonly randomness: Randomness
  readonly events: ReplicatorEvents
}

export class Replicator {
  readonly #options: ReplicatorOptions
  readonly #watch: DdlWatch
  readonly #sequences: SequenceWatch
  #received: Lsn
  /** Undefined before the first: what an earlier process received last may have no sample. */
  #sampled: Lsn | undefined
  /** Up to here the catalog agreed with the DDL records, as far as the stream has told. */
  #checked: Lsn
  /** The transaction in which missing records were made; until it has come, nothing counts as checked. */
  #repairing: string | undefined
  /** Such transactions that have come: the stream may be faster than the answer that names them. */
  readonly #repaired = new Set<string>()
  #untold = ''
  /** Commit LSN of the newest transaction with DDL. */
  #ddlAt: Lsn = LSN_ZERO
  #schemaWanted = false
  #schemaReading: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(options: ReplicatorOptions) {
    this.#options = options
    this.#received = options.from
    this.#checked = options.checked
    this.#watch = new DdlWatch(options.randomness)
    this.#sequences = new SequenceWatch(options.clock)
  }

  /** Ends by the signal or with the first failure; the log is not ended by it (its owner decides). */
  async run(signal: AbortSignal): Promise<void> {
    const { source, log, from } = this.#options
    const stop = new AbortController()
    const inner = AbortSignal.any([signal, stop.signal])
    source.acknowledge(this.#options.durable)
    const off = log.onAcknowledgeable((end) => source.acknowledge(end))
    const sampling = this.#sample(inner)
    sampling.catch((error: unknown) => this.#fail(error, stop))
    try {
      // What the log holds beyond the store may have DDL whose schema was not read before a crash.
      if (compareLsn(log.complete, this.#options.durable) > 0) {
        this.#ddlAt = log.complete
        await log.append({ kind: 'schema', facts: await source.schema(), covers: this.#ddlAt }, inner)
      }
      for await (const item of source.stream(from, inner)) {
        const ends = item.kind === 'changes' && item.endLsn !== undefined
        // Its gaps go before it: a log that keeps the transaction keeps them too.
        if (ends && item.ddl.length > 0) await this.#gaps(item, inner)
        await log.append(item, inner)
        if (ends) this.#committed(item, inner, stop)
      }
    } catch (error) {
      throw this.#failure?.error ?? error
    } finally {
      stop.abort(new DOMException('stopped', 'AbortError'))
      off()
      await Promise.allSettled([sampling, this.#schemaReading])
    }
  }

  async #gaps(part: TransactionPart, signal: AbortSignal): Promise<void> {
    const gaps = this.#watch.gapsOf(part, this.#checked)
    for (const record of part.ddl) if (record.command === 'REPAIR') this.#repaired.add(record.xid)
    for (const gap of gaps) {
      await this.#options.log.append({ kind: 'gap', gap }, signal)
      this.#options.events.onGap(gap)
    }
  }

  #committed(part: TransactionPart, signal: AbortSignal, stop: AbortController): void {
    this.#received = part.endLsn!
    if (part.ddl.length === 0) return
    this.#ddlAt = part.head.lsn
    this.#schemaWanted = true
    this.#schemaReading ??= this.#readSchema(signal)
      .catch((error: unknown) => this.#fail(error, stop))
      .finally(() => (this.#schemaReading = undefined))
  }

  /** One reading at a time; DDL that came meanwhile is covered by the next one. */
  async #readSchema(signal: AbortSignal): Promise<void> {
    while (this.#schemaWanted) {
      this.#schemaWanted = false
      const covers = this.#ddlAt
      const facts = await this.#options.source.schema()
      await this.#options.log.append({ kind: 'schema', facts, covers }, signal)
    }
  }

  /**
   * After the last transaction that was received: what the sequences say then is at least what it used, and what the
   * catalog says has its record or gets it now. Questions take at most a twentieth of the source's time.
   */
  async #sample(signal: AbortSignal): Promise<void> {
    const { clock, source, log, sampleMs } = this.#options
    let pause = sampleMs
    for (;;) {
      await clock.sleep(pause, signal)
      const asked = clock.elapsed()
      const at = this.#received
      const checked = await this.#check(at)
      await source.forgetDdl(log.durable)
      if (at !== this.#sampled) {
        const sampled = this.#sequences.sample(at, await source.sequences())
        await log.append({ kind: 'sequences', ...sampled, checked }, signal)
        this.#sampled = at
      }
      pause = Math.max(sampleMs, 20 * (clock.elapsed() - asked))
    }
  }

  /** Whether every schema change up to `at` has its record, and the stream has brought those that were made just now. */
  async #check(at: Lsn): Promise<boolean> {
    if (this.#repairing !== undefined && this.#repaired.delete(this.#repairing)) this.#repairing = undefined
    if (this.#repairing !== undefined) return false
    const { recorded, failed } = await this.#options.source.repairCatalog()
    this.#repairing = recorded
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
