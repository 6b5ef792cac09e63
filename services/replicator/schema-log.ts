/**
 * Readings of the schema on their way into the change log: one at a time, beside the stream, so that no row waits for the
 * catalog. The first one of a process is whole, and compared with the ledger's newest; those behind it are changes.
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { comparePositions, laterPosition, ORIGIN, type Position } from '../core/position.ts'
import type { ChangeLog } from '../core/ports/change-log.ts'
import type { Source } from '../core/ports/source.ts'
import { isVisible } from '../core/snapshot.ts'
import { type Deferred, deferred } from '../core/running-state.ts'
import type { ControlRecord, SchemaChange, SchemaFacts } from '../core/transaction.ts'
import { statementsDigest } from '../formats/schema-change.ts'

export interface KnownReading {
  readonly reading: string
  readonly snapshot: string
  /** Over its statements. */
  readonly digest: string
  /** A position, text: it has seen every change up to there. */
  readonly head: string
}

export interface SchemaLogOptions {
  readonly source: Source
  readonly log: ChangeLog
  /** Pause between two readings; more where reading itself takes long. */
  readonly schemaMs: number
  readonly reading: KnownReading | undefined
  readonly clock: Clock
  readonly randomness: Randomness
}

/** The pause behind a reading, in times of what it took: readings take at most a fifth of one connection's time. */
const PAUSE = 4
/** Without DDL, and where the catalog's digest says nothing, the schema is looked at this often. */
const UNASKED_MS = 10 * 60_000

export class SchemaLog {
  readonly #options: SchemaLogOptions
  /** Position of the newest transaction whose schema changes are to be read, and of those that were. */
  #wanted: Position | undefined
  #more: Deferred<void> = deferred()
  /** The reading that the log has of this process. */
  #last: string | undefined
  /** Readings that tell nothing new: they go in before the change that continues them. */
  #unsaid: ControlRecord[] = []
  /** Readings that the log has, the oldest first. `behind` is the first position that the log took after it. */
  readonly #said: { readonly snapshot: string; behind: Position | undefined }[] = []
  /** The newest position that the log took. */
  #passed: Position = ORIGIN
  /** The snapshot of the newest reading that the store is known to have. */
  #durable: string | undefined

  constructor(options: SchemaLogOptions) {
    this.#options = options
    this.#durable = options.reading?.snapshot
  }

  /** An item of the stream, up to `position`, goes into the log. Where the store has it, it has the readings in front of it. */
  passes(position: Position): void {
    if (comparePositions(position, this.#passed) <= 0) return
    this.#passed = position
    for (const said of this.#said) said.behind ??= position
  }

  /** The snapshot of the newest reading that the store is known to have; undefined where there is none. */
  durableReading(durable: Position): string | undefined {
    for (let [oldest] = this.#said; oldest?.behind !== undefined; [oldest] = this.#said) {
      if (comparePositions(oldest.behind, durable) > 0) break
      this.#durable = oldest.snapshot
      this.#said.shift()
    }
    return this.#durable
  }

  /** A transaction with DDL has come. */
  want(position: Position): void {
    this.#wanted = laterPosition(this.#wanted ?? ORIGIN, position)
    this.#more.resolve()
  }

  /** The catalog is another one than the last reading saw: there may be no DDL that says so. */
  look(): void {
    this.#more.resolve()
  }

  /** Reads whenever it is wanted, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, schemaMs } = this.#options
    const woken = (): void => this.#more.resolve()
    signal.addEventListener('abort', woken, { once: true })
    try {
      while (!signal.aborted) {
        await this.#wait(signal)
        if (signal.aborted) break
        const asked = clock.elapsed()
        await this.#read(signal)
        await clock
          .sleep(Math.max(schemaMs, PAUSE * (clock.elapsed() - asked)), signal)
          .catch(() => undefined)
      }
    } finally {
      signal.removeEventListener('abort', woken)
    }
  }

  /** For DDL, for what the catalog's digest shows without any (roles, disabled triggers), and from time to time. */
  async #wait(signal: AbortSignal): Promise<void> {
    const woken = new AbortController()
    void this.#more.promise.then(() => woken.abort(new DOMException('woken', 'AbortError')))
    await this.#options.clock
      .sleep(UNASKED_MS, AbortSignal.any([signal, woken.signal]))
      .catch(() => undefined)
    this.#more = deferred()
  }

  /** What was still wanted when the stream ended. */
  async settle(signal: AbortSignal): Promise<void> {
    if (this.#wanted !== undefined) await this.#read(signal)
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { source } = this.#options
    const isAsked = this.#wanted !== undefined
    const covers = this.#wanted ?? ORIGIN
    this.#wanted = undefined
    try {
      const change = this.#last === undefined ? undefined : await source.schemaSince(this.#last)
      if (change !== undefined) {
        this.#unsaid.push({ kind: 'schema-change', change, covers })
        this.#last = change.reading
        if (isAsked || !isNothing(change)) await this.#say(signal)
        return
      }
      const facts = await source.schema(this.#last === undefined ? this.#options.reading : undefined)
      const same = this.#last === undefined ? this.#same(facts) : undefined
      this.#last = facts.reading
      this.#unsaid =
        same === undefined
          ? [{ kind: 'schema', facts, covers }]
          : [{ kind: 'schema-change', change: same, covers }]
      if (same === undefined || this.#saysMore(facts)) await this.#say(signal)
    } catch (error) {
      // Not in the log: wanted still, by whoever goes on.
      if (isAsked) this.want(covers)
      throw error
    }
  }

  async #say(signal: AbortSignal): Promise<void> {
    for (const record of this.#unsaid) await this.#options.log.append(record, signal)
    const newest = this.#unsaid.at(-1)
    const snapshot = newest === undefined ? undefined : snapshotOf(newest)
    if (snapshot !== undefined) this.#said.push({ snapshot, behind: undefined })
    this.#unsaid = []
  }

  /** Whether it has seen DDL that the ledger's reading has not. */
  #saysMore(facts: SchemaFacts): boolean {
    const { reading } = this.#options
    return reading === undefined || facts.ddlSeen.some((id) => !isVisible(reading.snapshot, id))
  }

  /** The first reading of a process where the ledger has the same already. */
  #same(facts: SchemaFacts): SchemaChange | undefined {
    const known = this.#options.reading
    if (known === undefined || facts.reading === undefined) return undefined
    const digest = statementsDigest(facts.statements)
    if (digest !== known.digest) return undefined
    return {
      reading: facts.reading,
      since: known.reading,
      snapshot: facts.snapshot,
      ddlSeen: facts.ddlSeen,
      statements: facts.statements.length === 0 ? [] : [[0, facts.statements.length]],
      notes: facts.notes.map((note) => ({ new: note })),
      digest,
      unsettled: facts.unsettled ?? [],
      ...(facts.head === undefined ? {} : { head: facts.head }),
    }
  }
}

function snapshotOf(record: ControlRecord): string | undefined {
  if (record.kind === 'schema') return record.facts.snapshot
  return record.kind === 'schema-change' ? record.change.snapshot : undefined
}

/** The same schema, and no DDL that is new: seen again later, it would be the same again. */
function isNothing({ statements, notes, ddlSeen }: SchemaChange): boolean {
  const [only] = statements
  return (
    ddlSeen.length === 0 &&
    statements.length <= 1 &&
    notes.length <= 1 &&
    (only === undefined || (!('new' in only) && only[0] === 0))
  )
}
