/**
 * What the ledger says, folded into the state that everybody asks for: generations, windows, bases, gaps, keys, terms.
 * Pure: entry in, state changed; refuses sequences that cannot be (a segment that does not continue the one before).
 */
import { TidemarkError } from '../core/errors.ts'
import { compareLsn, type Lsn, maxLsn, parseLsn } from '../core/position.ts'
import type { EntryOf, LedgerEntry } from '../formats/ledger-entry.ts'
import type { AnyEntry } from './ledger.ts'

export interface NumberedEntry<K extends LedgerEntry['body']['kind']> {
  readonly number: bigint
  readonly writtenAt: string
  readonly body: EntryOf<K>
}

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
  readonly segments: NumberedEntry<'segments'>[] = []
  readonly bases: Base[] = []
  /** All `table` entries by number, those of unfinished bases and re-snapshots too. */
  readonly tables = new Map<bigint, NumberedEntry<'table'>>()
  readonly schemas: NumberedEntry<'schema'>[] = []
  readonly sequences: NumberedEntry<'sequences'>[] = []
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

  constructor(number: bigint, writtenAt: string, facts: EntryOf<'generation'>) {
    this.number = number
    this.facts = facts
    this.to = parseLsn(facts.consistentPoint)
    this.end = this.to
    this.checked = this.to
    this.lastWrittenAt = writtenAt
  }

  get consistentPoint(): Lsn {
    return parseLsn(this.facts.consistentPoint)
  }

  /** The newest finished base. */
  get base(): Base | undefined {
    return this.bases.at(-1)
  }
}

export class Catalog {
  stream = ''
  readonly generations: Generation[] = []
  readonly gaps: Gap[] = []
  readonly keys = new Map<string, NumberedEntry<'key'>>()
  /** The highest term claimed, by lane, and by whom. */
  readonly claims = new Map<number, { readonly term: number; readonly writer: string }>()
  readonly audits: NumberedEntry<'audit'>[] = []

  static of(entries: readonly AnyEntry[]): Catalog {
    const catalog = new Catalog()
    for (const entry of entries) catalog.apply(entry)
    return catalog
  }

  get generation(): Generation | undefined {
    return this.generations.at(-1)
  }

  get openGaps(): readonly Gap[] {
    return this.gaps.filter((gap) => gap.closedAt === undefined && gap.scope.kind === 'table' && gap.generation === this.generation?.facts.generation)
  }

  apply(entry: AnyEntry): void {
    const body = entry.body
    if (body === undefined) return
    const numbered = { number: entry.number, writtenAt: entry.writtenAt }
    switch (body.kind) {
      case 'genesis':
        this.stream = body.stream
        break
      case 'generation':
        this.generations.push(new Generation(entry.number, entry.writtenAt, body))
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
        generation.sequences.push({ ...numbered, body })
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
      case 'audit':
        this.audits.push({ ...numbered, body })
        break
    }
  }

  #segments(entry: NumberedEntry<'segments'>, raw: AnyEntry): void {
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

  #of(number: number, entry: AnyEntry): Generation {
    const generation = this.generations.find((g) => g.facts.generation === number)
    if (generation === undefined) throw broken(entry, `it belongs to generation ${number}, which the ledger does not have`)
    return generation
  }
}

function broken(entry: AnyEntry, what: string): TidemarkError {
  return new TidemarkError('LEDGER_BROKEN', `ledger entry ${entry.number}: ${what}`)
}
