/**
 * The compactor: reads the change log, rolls segments, seals and stores them, writes the ledger entry, and only then
 * says "durable" (invariants 1-3). One cut may be stored while the next one is filled; entries go out in order.
 */
import { type Clock, type Randomness } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { compareLsn, formatLsn, type Lsn, parseLsn } from '../core/position.ts'
import type { ChangeLog } from '../core/ports/change-log.ts'
import { Backoff } from '../core/running-state.ts'
import type { ControlRecord, SchemaFacts, TransactionPart } from '../core/transaction.ts'
import type { EntryBody } from '../formats/ledger-entry.ts'
import { indexName, schemaName, segmentName, sequencesName } from '../formats/object-name.ts'
import { encodeIndex, type IndexedBlock } from '../formats/segment-index.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { Repository, SealedObject } from '../repository/repository.ts'
import { OpenCut } from './open-cut.ts'
import { decideRoll, type RollPolicy, sealAllowanceMs } from './roll-policy.ts'
import { type BuiltSegment, CompressionGate } from './segment-builder.ts'

const LANE = 0

export interface CompactorEvents {
  onDurable?(event: { readonly to: Lsn; readonly end: Lsn; readonly transactions: number; readonly changes: number; readonly bytes: number; readonly firstCommittedAt: bigint; readonly lastCommittedAt: bigint }): void
  /** The store fails and is tried again; nothing is acknowledged meanwhile. */
  onRetry?(error: { readonly code: string; readonly message: string }): void
  /** Named points of the write path, for crash tests. */
  onPoint?(point: string): unknown
}

export interface CompactorOptions {
  readonly log: ChangeLog
  readonly repository: Repository
  readonly generation: number
  readonly term: number
  readonly policy: RollPolicy
  readonly clock: Clock
  readonly randomness: Randomness
  readonly events: CompactorEvents
}

export class Compactor {
  readonly #options: CompactorOptions
  readonly #gate = new CompressionGate()
  #cut: OpenCut
  /** Parts of a transaction that is not complete and not yet known to be large. */
  #staged: TransactionPart[] = []
  #stagedBytes = 0
  /** A large transaction is going straight into the cut: no cut before its end. */
  #inLarge = false
  /** The open cut ends with a large transaction: it goes out at once. */
  #endedLarge = false
  #ddlSeen = 0
  #ddlCovered = 0
  /** Cuts being stored, in order. */
  #storing: Promise<void> = Promise.resolve()
  #inFlight = 0
  #timer: NodeJS.Timeout | undefined
  #failure: { readonly error: unknown } | undefined
  #signal: AbortSignal = new AbortController().signal

  constructor(options: CompactorOptions) {
    this.#options = options
    this.#cut = this.#open(this.#generation.to)
  }

  get #generation() {
    const found = this.#options.repository.catalog.generations.find((g) => g.facts.generation === this.#options.generation)
    if (found === undefined) throw new Error('unreachable: the generation is in the ledger')
    return found
  }

  /** Runs until the log ends (then everything is durable) or something fails. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal
    const { log } = this.#options
    try {
      for await (const item of log.read(signal)) {
        if (this.#failure !== undefined) throw this.#failure.error
        if (item.kind === 'changes') await this.#part(item)
        else await this.#control(item)
        if (this.#gate.isFull) await this.#gate.room()
      }
      await this.#flush()
      await this.#storing
      if (this.#failure !== undefined) throw this.#failure.error
    } catch (error) {
      log.fail(error)
      throw error
    } finally {
      clearTimeout(this.#timer)
      await this.#storing.catch(() => undefined)
    }
  }

  #open(from: Lsn): OpenCut {
    return new OpenCut(from, this.#options.clock.elapsed(), this.#gate)
  }

  async #part(part: TransactionPart): Promise<void> {
    const now = this.#options.clock.elapsed()
    if (this.#inLarge) {
      this.#cut.add(part, now)
      if (part.endLsn === undefined) {
        if (this.#cut.builder.rawBytes >= this.#options.policy.segmentBytes) await this.#finishSegment(this.#cut)
        return
      }
      this.#inLarge = false
      if (part.ddl.length > 0) this.#ddlSeen++
      this.#endedLarge = true
      if (this.#decide() === 'cut') await this.#roll()
      else this.#arm()
      return
    }
    this.#staged.push(part)
    this.#stagedBytes += part.changes.bytes.length
    if (part.endLsn === undefined) {
      if (this.#stagedBytes < LIMITS.largeTransactionBytes) return
      // Large: what came before becomes durable on its own, and this transaction gets its own entry.
      if (!this.#cut.isEmpty) await this.#roll()
      this.#inLarge = true
    }
    for (const staged of this.#staged) this.#cut.add(staged, now)
    this.#staged = []
    this.#stagedBytes = 0
    if (this.#inLarge) return
    if (part.ddl.length > 0) this.#ddlSeen++
    this.#arm()
    if (this.#decide() === 'cut') await this.#roll()
  }

  async #control(record: ControlRecord): Promise<void> {
    switch (record.kind) {
      case 'sequences':
        if (this.#cut.isEmpty) await this.#storeSequences(record)
        else this.#cut.sequences = record
        break
      case 'schema':
        this.#cut.schemas.push(record.facts)
        this.#ddlCovered = Math.max(this.#ddlCovered, record.ddlTransactions)
        if (this.#decide() === 'cut') await this.#roll()
        break
      case 'marker':
        this.#cut.markers.push({ at: record.at, name: record.name })
        break
      case 'heartbeat':
        await this.#heartbeat(record.at)
        break
      case 'gap':
        this.#cut.gaps.push(record.gap)
        break
    }
  }

  #decide(): 'cut' | 'wait' {
    // An entry past a schema change needs the schema entry before it.
    if (this.#inLarge || this.#ddlCovered < this.#ddlSeen) return 'wait'
    if (this.#endedLarge) return 'cut'
    const cut = this.#cut
    const ageMs = cut.firstAt === undefined ? 0 : this.#options.clock.elapsed() - cut.firstAt
    return decideRoll(this.#options.policy, { rawBytes: cut.rawBytes, transactions: cut.transactions.length, ageMs })
  }

  /** One timer for the age of the open cut. */
  #arm(): void {
    if (this.#timer !== undefined || this.#cut.firstAt === undefined) return
    const { policy, clock } = this.#options
    const wait = this.#cut.firstAt + policy.ageMs - sealAllowanceMs(policy) - clock.elapsed()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#cut.firstAt === undefined || this.#failure !== undefined) return
      if (this.#decide() === 'cut') this.#roll().catch((error: unknown) => this.#fail(error))
      else this.#arm()
    }, Math.max(20, wait))
  }

  /** Closes the cut and begins to store it; waits only while too many are being stored. */
  async #roll(): Promise<void> {
    const cut = this.#cut
    const last = cut.transactions.at(-1)
    if (last === undefined) return
    this.#cut = this.#open(last.lsn)
    this.#endedLarge = false
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#inFlight++
    const before = this.#storing
    const stored = this.#store(cut, before).finally(() => this.#inFlight--)
    this.#storing = stored
    stored.catch((error: unknown) => this.#fail(error))
    if (this.#inFlight >= LIMITS.segmentsInFlight) await before
  }

  /** Everything complete goes out; an incomplete transaction is dropped (it was never acknowledged). */
  async #flush(): Promise<void> {
    if (!this.#inLarge) await this.#roll()
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#options.log.fail(error)
  }

  async #finishSegment(cut: OpenCut): Promise<void> {
    const built = cut.builder.finish(this.#options.randomness.bytes(16))
    built.catch(() => undefined)
    cut.finished.push(built)
    cut.builder = new OpenCut(cut.from, cut.openedAt, this.#gate).builder
    // The files of a large transaction are stored as they come, so that memory holds few of them.
    const index = cut.finished.length - 1
    cut.finished[index] = this.#storeEarly(cut, index, built)
    if (index >= LIMITS.segmentsInFlight) await cut.finished[index - LIMITS.segmentsInFlight]
  }

  readonly #early = new WeakMap<OpenCut, Map<number, SealedObject>>()

  async #storeEarly(cut: OpenCut, index: number, building: Promise<BuiltSegment>): Promise<BuiltSegment> {
    const built = await building
    const sealed = await this.#sealSegment(cut, index, built.file)
    await this.#retrying(() => this.#options.repository.put(sealed, this.#signal))
    const held = this.#early.get(cut) ?? new Map<number, SealedObject>()
    held.set(index, { ...sealed, bytes: Buffer.alloc(0) })
    this.#early.set(cut, held)
    return { ...built, file: Buffer.alloc(0) }
  }

  #sealSegment(cut: OpenCut, part: number, file: Buffer): Promise<SealedObject> {
    const { repository, generation } = this.#options
    const to = cut.transactions.at(-1)?.lsn ?? cut.from
    const name = segmentName(generation, LANE, cut.from, to, part, repository.nonce())
    return repository.seal(name, file, this.#context('segment'))
  }

  #context(kind: string): Record<string, string> {
    return { kind, generation: String(this.#options.generation), lane: String(LANE) }
  }

  async #store(cut: OpenCut, before: Promise<void>): Promise<void> {
    const { repository, generation, term, events, randomness, log } = this.#options
    const last = cut.transactions.at(-1)!
    const first = cut.transactions[0]!
    if (cut.builder.rows > 0 || cut.finished.length === 0) cut.finished.push(cut.builder.finish(randomness.bytes(16)))
    const segments = await Promise.all(cut.finished)
    const early = this.#early.get(cut)
    const objects: (EntryBody & { kind: 'segments' })['objects'][number][] = []
    const blocks: IndexedBlock[] = []
    let bytes = 0
    for (const [part, segment] of segments.entries()) {
      if (segment.blocks.length === 0) continue
      let sealed = early?.get(part)
      if (sealed === undefined) {
        sealed = await this.#sealSegment(cut, part, segment.file)
        events.onPoint?.('segment-sealed')
        await this.#retrying(() => repository.put(sealed!, this.#signal))
        events.onPoint?.('segment-stored')
      }
      bytes += Number(sealed.object.bytes)
      const rows = new Map<number, number>()
      for (const block of segment.blocks) {
        rows.set(block.shape.relation.oid, (rows.get(block.shape.relation.oid) ?? 0) + block.rows)
        blocks.push({ table: cut.tableIndex(block.shape.relation), object: objects.length, rows: block.rows, bytes: block.bytes })
      }
      objects.push({ ...sealed.object, tables: [...rows].map(([oid, count]) => ({ oid, rows: String(count) })) })
    }
    const index = encodeIndex({
      tables: cut.tables,
      blocks,
      transactions: cut.transactions,
      sequences: cut.sequences === undefined ? undefined : { at: cut.sequences.at, samples: cut.sequences.samples },
      markers: cut.markers,
    })
    const sealedIndex = await repository.seal(indexName(generation, LANE, cut.from, last.lsn, repository.nonce()), index, this.#context('index'))
    await this.#retrying(() => repository.put(sealedIndex, this.#signal))
    events.onPoint?.('index-stored')
    await before
    // A gap is in the ledger before the transaction that makes it: no crash can hide it (invariant 4).
    for (const gap of cut.gaps) {
      const entry: EntryBody = { kind: 'gap', generation, id: gap.id, from: formatLsn(gap.from), to: null, reason: gap.reason, scope: gap.scope }
      await this.#retrying(() => repository.append(entry))
    }
    for (const facts of cut.schemas) await this.#storeSchema(facts, last.lsn)
    const body: EntryBody = {
      kind: 'segments',
      generation,
      lane: LANE,
      term,
      timeline: cut.timeline,
      from: formatLsn(cut.from),
      to: formatLsn(last.lsn),
      end: formatLsn(last.endLsn),
      transactions: String(cut.transactions.length),
      changes: String(cut.changes),
      rawBytes: String(cut.rawBytes),
      firstCommittedAt: formatInstant(first.committedAt),
      lastCommittedAt: formatInstant(last.committedAt),
      latestCommittedAt: formatInstant(cut.transactions.reduce((latest, t) => (t.committedAt > latest ? t.committedAt : latest), first.committedAt)),
      hasDdl: cut.hasDdl,
      objects,
      index: sealedIndex.object,
    }
    events.onPoint?.('before-entry')
    await this.#retrying(() => repository.append(body))
    events.onPoint?.('after-entry')
    for (const marker of cut.markers) {
      const entry: EntryBody = { kind: 'marker', generation, at: formatLsn(marker.at), name: marker.name }
      await this.#retrying(() => repository.append(entry))
    }
    log.markDurable(last.endLsn)
    events.onPoint?.('acknowledged')
    events.onDurable?.({ to: last.lsn, end: last.endLsn, transactions: cut.transactions.length, changes: cut.changes, bytes, firstCommittedAt: first.committedAt, lastCommittedAt: last.committedAt })
  }

  async #storeSchema(facts: SchemaFacts, at: Lsn): Promise<void> {
    const { repository, generation } = this.#options
    const sealed = await repository.seal(schemaName(generation, at, repository.nonce()), Buffer.from(JSON.stringify(facts), 'utf8'), { kind: 'schema', generation: String(generation) })
    await this.#retrying(() => repository.put(sealed, this.#signal))
    const body: EntryBody = { kind: 'schema', generation, at: formatLsn(at), snapshot: facts.snapshot, object: sealed.object }
    await this.#retrying(() => repository.append(body))
  }

  /** A sample behind the last cut has no index to stand in. */
  async #storeSequences(record: ControlRecord & { kind: 'sequences' }): Promise<void> {
    const { repository, generation } = this.#options
    await this.#storing
    const name = sequencesName(generation, record.at, repository.nonce())
    const sealed = await repository.seal(name, Buffer.from(JSON.stringify(record.samples), 'utf8'), { kind: 'sequences', generation: String(generation) })
    await this.#retrying(() => repository.put(sealed, this.#signal))
    const body: EntryBody = { kind: 'sequences', generation, at: formatLsn(record.at), object: sealed.object }
    await this.#retrying(() => repository.append(body))
  }

  /** Idle: says that nothing is missing up to `at`, so that the source may drop its WAL. */
  async #heartbeat(at: Lsn): Promise<void> {
    const { repository, generation, term, log } = this.#options
    if (!this.#cut.isEmpty || this.#staged.length > 0 || this.#inLarge) return
    await this.#storing
    if (compareLsn(at, parseLsn(formatLsn(this.#generation.end))) <= 0) return
    const body: EntryBody = { kind: 'heartbeat', generation, lane: LANE, term, timeline: this.#generation.facts.timeline, end: formatLsn(at) }
    await this.#retrying(() => repository.append(body))
    log.markDurable(at)
  }

  /** Outages of the store: the same action again, with growing pauses, until it works or cannot. */
  async #retrying<T>(action: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(this.#options.clock, this.#options.randomness)
    for (;;) {
      try {
        return await action()
      } catch (error) {
        this.#signal.throwIfAborted()
        const known = await backoff.wait(error, this.#signal)
        this.#options.events.onRetry?.({ code: known.code, message: known.message })
      }
    }
  }
}
