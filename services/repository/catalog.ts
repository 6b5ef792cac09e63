/**
 * What the ledger says, folded into the state that everybody asks for: generations, windows, bases, gaps, keys, terms.
 * Pure: entry in, state changed; refuses sequences that cannot be (a segment that does not continue the one before).
 */
import { TidemarkError } from '../core/errors.ts'
import { compareLsn, formatLsn, type Lsn, maxLsn, parseLsn } from '../core/position.ts'
import { type CheckpointRoot, type StoredEntry, storedEntry } from '../formats/checkpoint.ts'
import type { EntryBody, EntryKind, EntryOf, NumberedEntry, StoredObject } from '../formats/ledger-entry.ts'
import { type ReadPage, SegmentLog } from './segment-log.ts'

/** Kinds that say something for ever and are few: a checkpoint keeps them as they are. */
const KEPT: ReadonlySet<EntryKind> = new Set(['generation', 'key', 'schema', 'table', 'base', 'marker', 'gap', 'gap-closed', 'attestation'])

export interface Gap {
  readonly id: string
  readonly generation: number
  readonly from: Lsn
  readonly to: Lsn | undefined
  readonly reason: string
  readonly scope: EntryOf<'gap'>['scope']
  /** For a table's gap: where the re-snapshot that closed it stands. */
  closedAt: Lsn | undefined
}

export interface Base {
  readonly id: string
  readonly number: bigint
  readonly writtenAt: string
  readonly closing: Lsn
  readonly from: Lsn
  readonly tables: readonly NumberedEntry<'table'>[]
  readonly entry: EntryOf<'base'>
}

export class Generation {
  readonly facts: EntryOf<'generation'>
  readonly number: bigint
  #segments: SegmentLog
  readonly bases: Base[] = []
  /** All `table` entries by number, those of unfinished bases and re-snapshots too. */
  readonly tables = new Map<bigint, NumberedEntry<'table'>>()
  readonly schemas: NumberedEntry<'schema'>[] = []
  readonly markers: NumberedEntry<'marker'>[] = []
  readonly attestations: NumberedEntry<'attestation'>[] = []
  /** Commit LSN of the last durable transaction, or the generation's start. */
  to: Lsn
  /** What may be acknowledged, heartbeats included. */
  end: Lsn
  /** Up to here the source's catalog agreed with its DDL records. */
  checked: Lsn
  /** Where the change log has what comes next. */
  log: EntryOf<'segments'>['log'] = null
  /** When the last entry that says "nothing is missing up to here" was written. */
  lastWrittenAt: string
  lastCommittedAt: string | undefined

  constructor(number: bigint, writtenAt: string, facts: EntryOf<'generation'>, segments: SegmentLog) {
    this.#segments = segments
    this.number = number
    this.facts = facts
    this.to = parseLsn(facts.consistentPoint)
    this.end = this.to
    this.checked = this.to
    this.lastWrittenAt = writtenAt
  }

  get segments(): SegmentLog {
    return this.#segments
  }

  get consistentPoint(): Lsn {
    return parseLsn(this.facts.consistentPoint)
  }

  /** What a checkpoint keeps, with pages in the place of entries. */
  stored(pages: readonly { readonly generation: number; readonly from: string; readonly to: string; readonly object: StoredObject }[]): CheckpointRoot['generations'][number] {
    const paged = this.segments.paged(pages.filter((page) => page.generation === this.facts.generation))
    const { last } = this.segments
    return {
      generation: this.facts.generation,
      to: formatLsn(this.to),
      end: formatLsn(this.end),
      checked: formatLsn(this.checked),
      log: this.log,
      lastWrittenAt: this.lastWrittenAt,
      last: last === undefined ? null : storedEntry(last),
      pages: paged,
    }
  }

  /** Goes on where a checkpoint left it. */
  resume(stored: CheckpointRoot['generations'][number], segments: SegmentLog): void {
    this.#segments = segments
    this.to = parseLsn(stored.to)
    this.end = parseLsn(stored.end)
    this.checked = parseLsn(stored.checked)
    this.log = stored.log
    this.lastWrittenAt = stored.lastWrittenAt
    this.lastCommittedAt = segments.last?.body.lastCommittedAt
  }

  /** The newest finished base. */
  get base(): Base | undefined {
    return this.bases.at(-1)
  }
}

/** What the catalog needs of an entry; a body of an unknown, ignorable kind is undefined. */
export interface CatalogEntry {
  readonly number: bigint
  readonly writtenAt: string
  readonly body: EntryBody | undefined
}

export class Catalog {
  stream = ''
  readonly generations: Generation[] = []
  readonly gaps: Gap[] = []
  readonly keys = new Map<string, NumberedEntry<'key'>>()
  /** The highest term claimed, by lane, and by whom. */
  readonly claims = new Map<number, { readonly term: number; readonly writer: string }>()
  readonly #readPage: ReadPage
  readonly #kept: StoredEntry[] = []
  /** Entries since the last checkpoint. */
  #sinceCheckpoint = 0

  constructor(readPage: ReadPage) {
    this.#readPage = readPage
  }

  /** As the ledger stood with a checkpoint's entry. */
  static restored(root: CheckpointRoot, readPage: ReadPage): Catalog {
    const catalog = new Catalog(readPage)
    catalog.stream = root.stream
    for (const { number, writtenAt, body } of root.entries) catalog.apply({ number: BigInt(number), writtenAt, body })
    for (const claim of root.claims) catalog.claims.set(claim.lane, { term: claim.term, writer: claim.writer })
    for (const stored of root.generations) {
      const generation = catalog.generations.find((g) => g.facts.generation === stored.generation)
      const last = stored.last?.body
      if (generation === undefined || (last !== undefined && last.kind !== 'segments')) throw new TidemarkError('OBJECT_CORRUPT', 'a checkpoint of the ledger contradicts itself')
      generation.resume(stored, new SegmentLog(stored.generation, readPage, stored.pages, last === undefined ? undefined : { number: BigInt(stored.last!.number), writtenAt: stored.last!.writtenAt, body: last }))
    }
    catalog.#sinceCheckpoint = 0
    return catalog
  }

  get sinceCheckpoint(): number {
    return this.#sinceCheckpoint
  }

  /** What a checkpoint keeps of this, once `pages` stand for the entries that are in none yet. */
  root(number: bigint, hash: string, pages: EntryOf<'checkpoint'>['pages']): CheckpointRoot {
    return {
      version: 1,
      stream: this.stream,
      number: number.toString(),
      hash,
      claims: [...this.claims].map(([lane, claim]) => ({ lane, ...claim })).sort((a, b) => a.lane - b.lane),
      entries: [...this.#kept],
      generations: this.generations.map((generation) => generation.stored(pages)),
    }
  }

  get generation(): Generation | undefined {
    return this.generations.at(-1)
  }

  get openGaps(): readonly Gap[] {
    return this.gaps.filter((gap) => gap.closedAt === undefined && gap.scope.kind === 'table' && gap.generation === this.generation?.facts.generation)
  }

  apply(entry: CatalogEntry): void {
    const body = entry.body
    this.#sinceCheckpoint++
    if (body === undefined) return
    if (KEPT.has(body.kind)) this.#kept.push(storedEntry({ ...entry, body }))
    const numbered = { number: entry.number, writtenAt: entry.writtenAt }
    switch (body.kind) {
      case 'genesis':
        this.stream = body.stream
        break
      case 'generation':
        this.generations.push(new Generation(entry.number, entry.writtenAt, body, new SegmentLog(body.generation, this.#readPage)))
        break
      case 'claim': {
        const held = this.claims.get(body.lane)
        // A lower term is a writer that lost without knowing it yet: its claim never counts.
        if (held === undefined || body.term > held.term) this.claims.set(body.lane, { term: body.term, writer: body.writer })
        break
      }
      case 'key':
        this.keys.set(body.key, { ...numbered, body })
        break
      case 'schema':
        this.#of(body.generation, entry).schemas.push({ ...numbered, body })
        break
      case 'segments':
        this.#segments({ ...numbered, body }, entry)
        break
      case 'heartbeat': {
        const generation = this.#of(body.generation, entry)
        if (this.#isStale(body.lane, body.term)) break
        const end = parseLsn(body.end)
        if (compareLsn(end, generation.end) > 0) generation.end = end
        generation.lastWrittenAt = entry.writtenAt
        break
      }
      case 'table':
        this.#of(body.generation, entry).tables.set(entry.number, { ...numbered, body })
        break
      case 'base': {
        const generation = this.#of(body.generation, entry)
        const tables = body.tables.map((t) => {
          const table = generation.tables.get(BigInt(t.entry))
          if (table === undefined || table.body.oid !== t.oid) throw broken(entry, 'a base names a table entry that is not there')
          return table
        })
        generation.bases.push({ id: body.base, ...numbered, closing: parseLsn(body.closing), from: parseLsn(body.from), tables, entry: body })
        break
      }
      case 'sequences': {
        const generation = this.#of(body.generation, entry)
        generation.segments.push({ ...numbered, body })
        if (body.checked !== null) generation.checked = maxLsn(generation.checked, parseLsn(body.checked))
        break
      }
      case 'marker':
        this.#of(body.generation, entry).markers.push({ ...numbered, body })
        break
      case 'gap':
        this.gaps.push({
          id: body.id,
          generation: body.generation,
          from: parseLsn(body.from),
          to: body.to === null ? undefined : parseLsn(body.to),
          reason: body.reason,
          scope: body.scope,
          closedAt: undefined,
        })
        break
      case 'gap-closed': {
        const gap = this.gaps.find((g) => g.id === body.id)
        if (gap === undefined) throw broken(entry, 'it closes a gap that was never recorded')
        gap.closedAt = parseLsn(body.at)
        break
      }
      case 'attestation':
        this.#of(body.generation, entry).attestations.push({ ...numbered, body })
        break
      case 'lanes':
        // Writers that come after this entry have a higher term than its number.
        this.#of(body.generation, entry).log = { ...body.log, since: entry.number.toString() }
        break
      case 'checkpoint':
        for (const { generation, from, to, object } of body.pages) this.#of(generation, entry).segments.page(BigInt(from), BigInt(to), object)
        this.#sinceCheckpoint = 0
        break
    }
  }

  #segments(entry: NumberedEntry<'segments'>, raw: CatalogEntry): void {
    const generation = this.#of(entry.body.generation, raw)
    // Written after a higher term was claimed: a zombie's. Its guard stops it; a reader never trusts it (hazard 18).
    if (this.#isStale(entry.body.lane, entry.body.term)) return
    const from = parseLsn(entry.body.from)
    const to = parseLsn(entry.body.to)
    if (compareLsn(from, generation.to) !== 0) throw broken(raw, `it continues from ${entry.body.from}, but the window ends elsewhere`)
    if (compareLsn(to, from) < 0) throw broken(raw, 'its range runs backwards')
    generation.segments.push(entry)
    generation.to = to
    const end = parseLsn(entry.body.end)
    if (compareLsn(end, generation.end) > 0) generation.end = end
    generation.lastWrittenAt = entry.writtenAt
    generation.lastCommittedAt = entry.body.lastCommittedAt
    generation.log = entry.body.log
    if (entry.body.checked !== null) generation.checked = maxLsn(generation.checked, parseLsn(entry.body.checked))
  }

  #isStale(lane: number, term: number): boolean {
    const held = this.claims.get(lane)
    return held !== undefined && term < held.term
  }

  #of(number: number, entry: CatalogEntry): Generation {
    const generation = this.generations.find((g) => g.facts.generation === number)
    if (generation === undefined) throw broken(entry, `it belongs to generation ${number}, which the ledger does not have`)
    return generation
  }
}

function broken(entry: CatalogEntry, what: string): TidemarkError {
  return new TidemarkError('LEDGER_BROKEN', `ledger entry ${entry.number}: ${what}`)
}
