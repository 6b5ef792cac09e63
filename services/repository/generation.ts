/** One generation as the ledger has it: its segments, bases, tables and schemas, and where it begins and ends. */
import {
  comparePositions,
  parsePosition,
  type Position,
  positionAfter,
  positionText,
} from '../core/position.ts'
import type { StreamPoint } from '../core/ports/source.ts'
import { type CheckpointRoot, storedEntry } from '../formats/checkpoint.ts'
import type { StoredObject } from '../formats/entry-fields.ts'
import type { EntryOf, NumberedEntry, SealedRef } from '../formats/ledger-entry.ts'
import type { ReadingEntry } from '../formats/schema-change.ts'
import type { Floor } from './floor.ts'
import { addReading, byName, readingChain } from './reading-chain.ts'
import type { SegmentLog } from './segment-log.ts'

export interface Gap {
  readonly id: string
  readonly generation: number
  readonly from: Position
  readonly to: Position | undefined
  readonly reason: string
  readonly scope: EntryOf<'gap'>['scope']
  /** For a table's gap: where the re-snapshot that closed it stands. */
  closedAt: Position | undefined
}

export interface Base {
  readonly id: string
  readonly number: bigint
  readonly writtenAt: string
  readonly closing: Position
  readonly from: Position
  readonly tables: readonly NumberedEntry<'table'>[]
  readonly entry: EntryOf<'base'>
}

export class Generation {
  readonly facts: EntryOf<'generation'>
  readonly number: bigint
  #segments: SegmentLog
  #bases: Base[] = []
  #schemas: ReadingEntry[] = []
  #floor: Floor | undefined
  /** All `table` entries by number, those of unfinished bases and re-snapshots too. */
  readonly tables = new Map<bigint, NumberedEntry<'table'>>()
  readonly markers: NumberedEntry<'marker'>[] = []
  readonly attestations: NumberedEntry<'attestation'>[] = []
  /** Position of the last durable transaction, or the generation's start. */
  to: Position
  /** What may be acknowledged, heartbeats included. */
  end: Position
  /** The engine's own words for `end`, where it needs them. */
  resumeAt: string | undefined
  /** Of the newest entry that names one: where `end` lies. */
  timeline: number
  /** Up to here the source's catalog agreed with its DDL records. */
  checked: Position
  /** Where the change log has what comes next. */
  log: EntryOf<'segments'>['log'] = null
  /** When the last entry that says "nothing is missing up to here" was written. */
  lastWrittenAt: string
  lastCommittedAt: string | undefined
  /** Instant by the source's clock: every commit that it stamped up to then lies below `end`. Undefined where only older versions wrote. */
  asOf: string | undefined
  /** Of the last segments entry; undefined where a checkpoint told of it. */
  lastSigner: string | undefined

  constructor(number: bigint, writtenAt: string, facts: EntryOf<'generation'>, segments: SegmentLog) {
    this.#segments = segments
    this.number = number
    this.facts = facts
    this.to = parsePosition(facts.consistentPoint)
    this.end = this.to
    this.resumeAt = facts.resume
    this.checked = this.to
    this.timeline = facts.timeline
    this.lastWrittenAt = writtenAt
  }

  get segments(): SegmentLog {
    return this.#segments
  }

  get consistentPoint(): Position {
    return parsePosition(this.facts.consistentPoint)
  }

  /** Where its stream goes on. */
  get endPoint(): StreamPoint {
    return { position: this.end, resume: this.resumeAt }
  }

  /** Nothing is missing up to there. */
  reach(end: Position, resume: string | undefined): void {
    if (comparePositions(end, this.end) <= 0) return
    this.end = end
    this.resumeAt = resume
  }

  /** Finished ones, the oldest first; none that begins before the floor. */
  get bases(): readonly Base[] {
    const at = this.#floor === undefined ? 0 : this.#bases.findIndex((base) => base.id === this.#floor!.base)
    return at <= 0 ? this.#bases : this.#bases.slice(at)
  }

  /** Whether the stream has reached a base's closing position: before that, no point can be restored from it. */
  isClosed(base: Base): boolean {
    return (
      comparePositions(base.closing, this.end) <= 0 ||
      comparePositions(base.closing, positionAfter(this.to)) <= 0
    )
  }

  /** Those too that begin before the floor. */
  get allBases(): readonly Base[] {
    return this.#bases
  }

  /** Readings of the schema in the order of what they saw. */
  get schemas(): readonly ReadingEntry[] {
    const floor = this.#floor
    return floor === undefined
      ? this.#schemas
      : this.#schemas.filter(
          (schema) => comparePositions(parsePosition(schema.body.at), floor.schemasFrom) >= 0,
        )
  }

  /** The newest reading of the schema that changes can continue. */
  get reading():
    | {
        readonly reading: string
        readonly digest: string
        readonly snapshot: string
        readonly head: string
      }
    | undefined {
    const newest = this.#schemas.at(-1)
    if (newest === undefined || readingChain(byName(this.#schemas), newest) === undefined) return undefined
    const { reading, digest, snapshot, at, head = at } = newest.body
    if (reading === undefined || digest === undefined) return undefined
    return { reading, digest, snapshot, head }
  }

  /** The DDL records of what lies below the floor. */
  get olderDdl(): SealedRef | null {
    return this.#floor?.ddl ?? null
  }

  /** What of this generation counts; undefined for all that the ledger has of it. */
  set floor(floor: Floor | undefined) {
    this.#floor = floor
    this.#segments.floor = floor?.before
  }

  addBase(base: Base): void {
    this.#bases.push(base)
  }

  addSchema(schema: ReadingEntry): void {
    addReading(this.#schemas, schema)
  }

  /** What lies below the floor is gone for good. Returns the numbers of the entries that say nothing any more. */
  forget(floor: Floor): ReadonlySet<bigint> {
    const forgotten = new Set<bigint>()
    const bases = this.#bases.findIndex((base) => base.id === floor.base)
    for (const base of this.#bases.slice(0, Math.max(0, bases))) forgotten.add(base.number)
    for (const [number, table] of this.tables) if (floor.gone.has(table.body.base)) forgotten.add(number)
    for (const schema of this.#schemas)
      if (comparePositions(parsePosition(schema.body.at), floor.schemasFrom) < 0) forgotten.add(schema.number)
    this.#bases = this.#bases.filter((base) => !forgotten.has(base.number))
    this.#schemas = this.#schemas.filter((schema) => !forgotten.has(schema.number))
    for (const number of forgotten) this.tables.delete(number)
    this.#segments.forget(floor.before, floor.pages)
    return forgotten
  }

  /** What a checkpoint keeps, with pages in the place of entries. */
  stored(
    pages: readonly {
      readonly generation: number
      readonly from: string
      readonly to: string
      readonly object: StoredObject
    }[],
  ): CheckpointRoot['generations'][number] {
    const paged = this.segments.paged(pages.filter((page) => page.generation === this.facts.generation))
    const { last } = this.segments
    return {
      generation: this.facts.generation,
      to: positionText(this.to),
      end: positionText(this.end),
      checked: positionText(this.checked),
      ...(this.resumeAt === undefined ? {} : { resume: this.resumeAt }),
      log: this.log,
      lastWrittenAt: this.lastWrittenAt,
      timeline: this.timeline,
      ...(this.asOf === undefined ? {} : { asOf: this.asOf }),
      last: last === undefined ? null : storedEntry(last),
      pages: paged,
    }
  }

  /** Goes on where a checkpoint left it. */
  resume(stored: CheckpointRoot['generations'][number], segments: SegmentLog): void {
    this.#segments = segments
    segments.floor = this.#floor?.before
    this.to = parsePosition(stored.to)
    this.end = parsePosition(stored.end)
    this.checked = parsePosition(stored.checked)
    this.resumeAt = stored.resume
    this.log = stored.log
    this.lastWrittenAt = stored.lastWrittenAt
    this.asOf = stored.asOf
    this.timeline = Math.max(this.timeline, stored.timeline ?? segments.last?.body.timeline ?? 0)
    this.lastCommittedAt = segments.last?.body.lastCommittedAt
  }

  /** The newest finished base. */
  get base(): Base | undefined {
    return this.#bases.at(-1)
  }
}
