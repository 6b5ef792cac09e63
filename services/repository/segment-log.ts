/**
 * The segments and sequences entries of one generation, in the ledger's order: the newest in memory, the older ones in
 * index pages that are read when somebody wants what is in them. Most questions are answered by the pages' sums.
 */
import { comparePositions, parsePosition, type Position, positionText } from '../core/position.ts'
import { contentOf, type PagedEntry, type PageSummary } from '../formats/checkpoint.ts'
import type { StoredObject } from '../formats/entry-fields.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import { parseInstant } from '../formats/temporal.ts'

/** What an entry covers, and what a page covers: for choosing. Times are RFC 3339, undefined where there is no commit. */
export interface Coverage {
  /** Exclusive. */
  readonly from: Position
  readonly to: Position
  readonly end: Position
  readonly firstCommittedAt: string | undefined
  readonly latestCommittedAt: string | undefined
  readonly hasDdl: boolean
  /** Of several entries. */
  readonly isPage?: boolean
}

export interface SegmentSums {
  readonly segments: number
  readonly changes: bigint
  /** Of the sealed objects with changes. */
  readonly bytes: bigint
  readonly keys: ReadonlySet<string>
  /** Before compression, by table. */
  readonly tables: ReadonlyMap<number, { readonly rows: bigint; readonly bytes: bigint }>
}

export type ReadPage = (generation: number, page: PageSummary) => Promise<readonly PagedEntry[]>

export class SegmentLog {
  readonly #generation: number
  readonly #readPage: ReadPage
  #pages: PageSummary[]
  #tail: PagedEntry[] = []
  #last: NumberedEntry<'segments'> | undefined
  #firstCommittedAt: string | undefined
  /** What begins before it does not count. */
  floor: Position | undefined

  constructor(
    generation: number,
    readPage: ReadPage,
    pages: readonly PageSummary[] = [],
    last?: NumberedEntry<'segments'>,
  ) {
    this.#generation = generation
    this.#readPage = readPage
    this.#pages = [...pages]
    this.#last = last
    this.#firstCommittedAt =
      pages.find((page) => page.firstCommittedAt !== null)?.firstCommittedAt ?? undefined
  }

  get last(): NumberedEntry<'segments'> | undefined {
    return this.#last
  }

  /** Of the first entry. */
  get firstCommittedAt(): string | undefined {
    return this.#firstCommittedAt
  }

  get pages(): readonly PageSummary[] {
    return this.#pages
  }

  /** Entries that stand in no page. */
  get unpaged(): readonly PagedEntry[] {
    return this.#tail
  }

  push(entry: PagedEntry): void {
    this.#tail.push(entry)
    if (!isSegments(entry)) return
    this.#last = entry
    this.#firstCommittedAt ??= entry.body.firstCommittedAt
  }

  /** A checkpoint names a page for our oldest entries: from here on it stands for them. */
  page(from: bigint, to: bigint, object: StoredObject): void {
    const entries = this.#between(from, to)
    if (entries.length === 0) return
    this.#pages.push(summarize(entries, object))
    this.#tail = this.#tail.filter((entry) => entry.number > to)
  }

  /** The pages as they would be with more of them, which together hold every entry that stands in none yet. */
  paged(
    more: readonly { readonly from: string; readonly to: string; readonly object: StoredObject }[],
  ): PageSummary[] {
    return [
      ...this.#pages,
      ...more.flatMap(({ from, to, object }) => {
        const entries = this.#between(BigInt(from), BigInt(to))
        return entries.length === 0 ? [] : [summarize(entries, object)]
      }),
    ]
  }

  /** Nobody asks for what begins before it any more. @param firstEntry the number of the first entry that stays */
  forget(before: Position, firstEntry: bigint): void {
    this.#pages = this.#pages.filter((page) => BigInt(page.to) >= firstEntry)
    this.#tail = this.#tail.filter((entry) => comparePositions(coverageOf(entry).from, before) >= 0)
  }

  #between(from: bigint, to: bigint): PagedEntry[] {
    return this.#tail.filter((entry) => entry.number >= from && entry.number <= to)
  }

  /** In the ledger's order; it is asked for pages and then for entries, and must be true for a page that holds one. */
  async *entries(asked: (coverage: Coverage) => boolean): AsyncGenerator<PagedEntry> {
    const wanted = this.#above(asked)
    for (const page of this.#pages) {
      if (!wanted(coverageOfPage(page))) continue
      for (const entry of await this.#readPage(this.#generation, page))
        if (wanted(coverageOf(entry))) yield entry
    }
    // A checkpoint may come while somebody reads.
    for (const entry of [...this.#tail]) if (wanted(coverageOf(entry))) yield entry
  }

  async *segments(wanted: (coverage: Coverage) => boolean): AsyncGenerator<NumberedEntry<'segments'>> {
    for await (const entry of this.entries(wanted)) if (isSegments(entry)) yield entry
  }

  /** The newest first. */
  async *backwards(asked: (coverage: Coverage) => boolean): AsyncGenerator<PagedEntry> {
    const wanted = this.#above(asked)
    const pages = [...this.#pages]
    for (const entry of this.#tail.toReversed()) if (wanted(coverageOf(entry))) yield entry
    for (const page of pages.toReversed()) {
      if (!wanted(coverageOfPage(page))) continue
      for (const entry of [...(await this.#readPage(this.#generation, page))].reverse())
        if (wanted(coverageOf(entry))) yield entry
    }
  }

  /** Sums of what `wanted` chooses; a page that is `inside` counts whole, without being read. */
  async sums(
    asked: (coverage: Coverage) => boolean,
    inside: (coverage: Coverage) => boolean,
  ): Promise<SegmentSums> {
    const wanted = this.#above(asked)
    const sums = new Sums()
    for (const page of this.#pages) {
      const coverage = coverageOfPage(page)
      if (!wanted(coverage)) continue
      if (inside(coverage)) sums.addPage(page)
      else
        for (const entry of await this.#readPage(this.#generation, page))
          if (isSegments(entry) && wanted(coverageOf(entry))) sums.addEntry(entry)
    }
    for (const entry of this.#tail) if (isSegments(entry) && wanted(coverageOf(entry))) sums.addEntry(entry)
    return sums
  }

  /** A page counts where any of its entries may. */
  #above(asked: (coverage: Coverage) => boolean): (coverage: Coverage) => boolean {
    const { floor } = this
    return floor === undefined
      ? asked
      : (coverage) =>
          (coverage.isPage
            ? comparePositions(coverage.to, floor) >= 0
            : comparePositions(coverage.from, floor) >= 0) && asked(coverage)
  }

  /** Of everything. */
  get bytes(): bigint {
    let bytes = 0n
    const above = this.#above(() => true)
    for (const page of this.#pages) if (above(coverageOfPage(page))) bytes += BigInt(page.bytes)
    for (const entry of this.#tail)
      if (above(coverageOf(entry)))
        if (isSegments(entry)) for (const object of entry.body.objects) bytes += BigInt(object.bytes)
    return bytes
  }
}

export function isSegments(entry: PagedEntry): entry is NumberedEntry<'segments'> {
  return entry.body.kind === 'segments'
}

class Sums implements SegmentSums {
  segments = 0
  changes = 0n
  bytes = 0n
  readonly keys = new Set<string>()
  readonly tables = new Map<number, { rows: bigint; bytes: bigint }>()

  addPage(page: PageSummary): void {
    this.segments += page.segments
    this.changes += BigInt(page.changes)
    this.bytes += BigInt(page.bytes)
    for (const key of page.keys) this.keys.add(key)
    for (const table of page.tables) this.#table(table)
  }

  addEntry({ body }: NumberedEntry<'segments'>): void {
    this.segments++
    this.changes += BigInt(body.changes)
    for (const object of body.objects) {
      this.bytes += BigInt(object.bytes)
      this.keys.add(object.key)
      for (const table of object.tables) this.#table(table)
    }
  }

  #table({
    oid,
    rows,
    bytes,
  }: {
    readonly oid: number
    readonly rows: string
    readonly bytes: string
  }): void {
    const held = this.tables.get(oid)
    if (held === undefined) this.tables.set(oid, { rows: BigInt(rows), bytes: BigInt(bytes) })
    else {
      held.rows += BigInt(rows)
      held.bytes += BigInt(bytes)
    }
  }
}

function coverageOf(entry: PagedEntry): Coverage {
  if (!isSegments(entry)) {
    const at = parsePosition(entry.body.at)
    return {
      from: at,
      to: at,
      end: at,
      firstCommittedAt: undefined,
      latestCommittedAt: undefined,
      hasDdl: false,
    }
  }
  const { body } = entry
  return {
    from: parsePosition(body.from),
    to: parsePosition(body.to),
    end: parsePosition(body.end),
    firstCommittedAt: body.firstCommittedAt,
    latestCommittedAt: body.latestCommittedAt,
    hasDdl: body.hasDdl,
  }
}

function coverageOfPage(page: PageSummary): Coverage {
  const { from, to, end } = page.range
  return {
    from: parsePosition(from),
    to: parsePosition(to),
    end: parsePosition(end),
    firstCommittedAt: page.firstCommittedAt ?? undefined,
    latestCommittedAt: page.latestCommittedAt ?? undefined,
    hasDdl: page.hasDdl,
    isPage: true,
  }
}

/** @param entries at least one */
function summarize(entries: readonly PagedEntry[], object: StoredObject): PageSummary {
  const sums = new Sums()
  const covered = entries.map(coverageOf)
  const extreme = (of: (coverage: Coverage) => Position, sign: number): string =>
    positionText(covered.map(of).reduce((a, b) => (comparePositions(a, b) * sign >= 0 ? a : b)))
  const times = (of: (coverage: Coverage) => string | undefined): string[] =>
    covered
      .map(of)
      .filter((time) => time !== undefined)
      .sort((a, b) => Number(parseInstant(a) - parseInstant(b)))
  for (const entry of entries) if (isSegments(entry)) sums.addEntry(entry)
  return {
    from: entries[0]!.number.toString(),
    to: entries.at(-1)!.number.toString(),
    object,
    content: contentOf(entries),
    segments: sums.segments,
    range: { from: extreme((c) => c.from, -1), to: extreme((c) => c.to, 1), end: extreme((c) => c.end, 1) },
    firstCommittedAt: times((c) => c.firstCommittedAt)[0] ?? null,
    latestCommittedAt: times((c) => c.latestCommittedAt).at(-1) ?? null,
    hasDdl: covered.some((c) => c.hasDdl),
    changes: String(sums.changes),
    bytes: String(sums.bytes),
    keys: [...sums.keys],
    tables: [...sums.tables].map(([oid, t]) => ({ oid, rows: String(t.rows), bytes: String(t.bytes) })),
  }
}
