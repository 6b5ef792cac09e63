/**
 * What the ledger says, folded into the state that everybody asks for: generations, windows, bases, gaps, keys, terms.
 * Pure: entry in, state changed; refuses sequences that cannot be (a segment that does not continue the one before).
 */
import { must, TidemarkError } from '../core/errors.ts'
import { laterPosition, parsePosition } from '../core/position.ts'
import { type CheckpointRoot, type StoredEntry, storedEntry } from '../formats/checkpoint.ts'
import type { EntryBody, EntryKind, EntryOf, NumberedEntry } from '../formats/ledger-entry.ts'
import { laterInstant } from '../formats/temporal.ts'
import { judge } from './admission.ts'
import { KnownDamage } from './known-damage.ts'
import type { CatalogEntry, Retirement } from './catalog-entry.ts'
import { type Floor, laterFloor, parseFloor } from './floor.ts'
import { type Gap, Generation } from './generation.ts'
import { type ReadPage, SegmentLog } from './segment-log.ts'

/** Kinds that say something for ever and are few: a checkpoint keeps them as they are. */
const KEPT: ReadonlySet<EntryKind> = new Set([
  'generation',
  'key',
  'schema',
  'schema-change',
  'table',
  'base',
  'marker',
  'gap',
  'gap-closed',
  'attestation',
  'hold',
  'hold-released',
  'retire',
  'retire-undone',
  'removed',
  'locks',
  'signers',
  'scrub',
  'lineage',
  'detour',
])

export class Catalog {
  stream = ''
  /** What may be written of it. */
  format: 1 | 2 = 1
  readonly #generations: Generation[] = []
  /** Those that were not undone, the oldest first. */
  readonly retirements: Retirement[] = []
  readonly holds = new Map<string, NumberedEntry<'hold'>>()
  /** By the store's place. */
  readonly locks = new Map<string, EntryOf<'locks'>>()
  /** The newest one. */
  scrubbed: NumberedEntry<'scrub'> | undefined
  readonly damage = new KnownDamage()
  /** A store that keeps less than the ledger has. */
  #limit: Floor | undefined
  readonly gaps: Gap[] = []
  readonly keys = new Map<string, NumberedEntry<'key'>>()
  /** The highest term claimed, by lane, and by whom. */
  readonly claims = new Map<number, { readonly term: number; readonly writer: string }>()
  readonly #readPage: ReadPage
  #kept: StoredEntry[] = []
  /** Who may sign, as it changed. */
  readonly signerChanges: NumberedEntry<'signers'>[] = []
  readonly promotions: NumberedEntry<'lineage'>[] = []
  #sinceCheckpoint = 0
  /** Those that say again what one before them said. */
  readonly repeated: bigint[] = []

  constructor(readPage: ReadPage) {
    this.#readPage = readPage
  }

  /** As the ledger stood with a checkpoint's entry. */
  static restored(root: CheckpointRoot, readPage: ReadPage): Catalog {
    const catalog = new Catalog(readPage)
    catalog.stream = root.stream
    catalog.format = root.format ?? 1
    for (const { number, writtenAt, body } of root.entries)
      catalog.apply({ number: BigInt(number), writtenAt, body })
    if (root.damage !== undefined) catalog.damage.resume(root.damage)
    for (const claim of root.claims)
      catalog.claims.set(claim.lane, { term: claim.term, writer: claim.writer })
    for (const stored of root.generations) {
      const generation = catalog.#generations.find((g) => g.facts.generation === stored.generation)
      const last = stored.last?.body
      if (generation === undefined || (last !== undefined && last.kind !== 'segments'))
        throw new TidemarkError('OBJECT_CORRUPT', 'a checkpoint of the ledger contradicts itself')
      generation.resume(
        stored,
        new SegmentLog(
          stored.generation,
          readPage,
          stored.pages,
          last === undefined
            ? undefined
            : { number: BigInt(stored.last!.number), writtenAt: stored.last!.writtenAt, body: last },
        ),
      )
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
      ...(this.format === 1 ? {} : { format: this.format }),
      number: number.toString(),
      hash,
      claims: [...this.claims].map(([lane, claim]) => ({ lane, ...claim })).sort((a, b) => a.lane - b.lane),
      entries: [...this.#kept],
      ...this.damage.stored(),
      generations: this.#generations.map((generation) => generation.stored(pages)),
    }
  }

  /** Those that can be restored from, whole or in part, the oldest first. */
  get generations(): readonly Generation[] {
    const { floor } = this
    return floor === undefined
      ? this.#generations
      : this.#generations.filter((g) => g.facts.generation >= floor.generation)
  }

  /** Those too that are retired, and may come back. */
  get allGenerations(): readonly Generation[] {
    return this.#generations
  }

  get generation(): Generation | undefined {
    return this.#generations.at(-1)
  }

  /** Where the backup begins: nothing before it counts. */
  get floor(): Floor | undefined {
    return laterFloor(this.retirements.at(-1)?.floor, this.#limit)
  }

  /** What lies before it is gone from every store, or goes. */
  get removedFloor(): Floor | undefined {
    return this.retirements.findLast((retirement) => retirement.isRemoved)?.floor
  }

  /** What is read keeps no more than this. */
  limit(floor: Floor): void {
    this.#limit = laterFloor(this.#limit, floor)
    this.#setFloors()
  }

  #setFloors(): void {
    const { floor } = this
    for (const generation of this.#generations)
      generation.floor = floor?.generation === generation.facts.generation ? floor : undefined
  }

  get openGaps(): readonly Gap[] {
    return this.gaps.filter(
      (gap) =>
        gap.closedAt === undefined &&
        gap.scope.kind === 'table' &&
        gap.generation === this.generation?.facts.generation,
    )
  }

  /** The latest time that the ledger gives up to an entry, as far as it is not ahead of `now`; ms since 1970. */
  latestTime(until: bigint, now: number): number {
    let latest = -Infinity
    const seen = (number: bigint, writtenAt: string): void => {
      const time = Date.parse(writtenAt)
      if (number <= until && time <= now && time > latest) latest = time
    }
    for (const { number, writtenAt } of this.#kept) seen(BigInt(number), writtenAt)
    for (const { segments } of this.#generations)
      for (const { number, writtenAt } of segments.unpaged) seen(number, writtenAt)
    return latest
  }

  apply(entry: CatalogEntry): void {
    const body = entry.body
    const verdict = judge(this, entry)
    this.#sinceCheckpoint++
    if (verdict === 'repeats') this.repeated.push(entry.number)
    if (verdict !== 'counts' || body === undefined) return
    if (KEPT.has(body.kind)) this.#kept.push(storedEntry({ ...entry, body }))
    const numbered = { number: entry.number, writtenAt: entry.writtenAt }
    switch (body.kind) {
      case 'genesis':
        this.stream = body.stream
        this.format = body.format ?? 1
        break
      case 'format':
        this.format = body.format
        break
      case 'generation':
        this.#generations.push(
          new Generation(
            entry.number,
            entry.writtenAt,
            body,
            new SegmentLog(body.generation, this.#readPage),
          ),
        )
        break
      case 'claim': {
        const held = this.claims.get(body.lane)
        // A lower term is a writer that lost without knowing it yet: its claim never counts.
        if (held === undefined || body.term > held.term)
          this.claims.set(body.lane, { term: body.term, writer: body.writer })
        break
      }
      case 'key':
        this.keys.set(body.key, { ...numbered, body })
        break
      case 'schema':
      case 'schema-change':
        this.#of(body.generation).addSchema({ ...numbered, body })
        break
      case 'segments':
        this.#segments({ ...numbered, body }, entry.signer)
        break
      case 'heartbeat': {
        const generation = this.#of(body.generation)
        generation.reach(parsePosition(body.end), body.resume)
        generation.timeline = Math.max(generation.timeline, body.timeline)
        generation.lastWrittenAt = entry.writtenAt
        if (body.asOf !== undefined) generation.asOf = laterInstant(generation.asOf, body.asOf)
        break
      }
      case 'table':
        this.#of(body.generation).tables.set(entry.number, { ...numbered, body })
        break
      case 'base': {
        const generation = this.#of(body.generation)
        const tables = body.tables.map((t) => must(generation.tables.get(BigInt(t.entry)), 'a table entry'))
        generation.addBase({
          id: body.base,
          ...numbered,
          closing: parsePosition(body.closing),
          from: parsePosition(body.from),
          tables,
          entry: body,
        })
        break
      }
      case 'sequences': {
        const generation = this.#of(body.generation)
        generation.segments.push({ ...numbered, body })
        if (body.checked !== null)
          generation.checked = laterPosition(generation.checked, parsePosition(body.checked))
        break
      }
      case 'marker':
        this.#of(body.generation).markers.push({ ...numbered, body })
        break
      case 'gap':
        this.gaps.push({
          id: body.id,
          generation: body.generation,
          from: parsePosition(body.from),
          to: body.to === null ? undefined : parsePosition(body.to),
          reason: body.reason,
          scope: body.scope,
          closedAt: undefined,
        })
        break
      case 'gap-closed': {
        const gap = must(
          this.gaps.find((g) => g.id === body.id),
          'a gap',
        )
        gap.closedAt = parsePosition(body.at)
        break
      }
      case 'attestation':
        this.#of(body.generation).attestations.push({ ...numbered, body })
        break
      case 'lanes':
        // Writers that come after this entry have a higher term than its number.
        this.#of(body.generation).log =
          body.goesOn === true ? body.log : { ...body.log, since: entry.number.toString() }
        break
      case 'lineage':
        this.promotions.push({ ...numbered, body })
        break
      case 'signers':
        this.signerChanges.push({ ...numbered, body })
        break
      case 'hold':
        this.holds.set(body.id, { ...numbered, body })
        break
      case 'hold-released':
        this.#dropHolds((hold) => hold.id === body.id)
        this.#kept = this.#kept.filter((kept) => kept.body.kind !== 'hold-released')
        break
      case 'retire':
        this.retirements.push({
          id: body.id,
          ...numbered,
          entry: body,
          floor: parseFloor(body.floor),
          isRemoved: false,
        })
        this.#setFloors()
        break
      case 'retire-undone': {
        this.retirements.splice(
          this.retirements.findIndex((retirement) => retirement.id === body.id),
          1,
        )
        this.#kept = this.#kept.filter(
          (kept) =>
            !(
              (kept.body.kind === 'retire' || kept.body.kind === 'retire-undone') &&
              kept.body.id === body.id
            ),
        )
        this.#setFloors()
        break
      }
      case 'removed':
        this.#removed(body.id)
        break
      case 'scrub':
        this.#replaceKept(entry.number, ({ kind }) => kind === 'scrub')
        this.scrubbed = { ...numbered, body }
        break
      case 'damage':
        this.damage.apply(body)
        break
      case 'locks':
        this.#replaceKept(entry.number, (kept) => kept.kind === 'locks' && kept.place === body.place)
        this.locks.set(body.place, body)
        break
      case 'checkpoint':
        for (const { generation, from, to, object } of body.pages)
          this.#of(generation).segments.page(BigInt(from), BigInt(to), object)
        this.#sinceCheckpoint = 0
        break
    }
  }

  /** Of those that an entry replaces, it alone. */
  #replaceKept(by: bigint, isReplaced: (body: EntryBody) => boolean): void {
    this.#kept = this.#kept.filter(({ number, body }) => !isReplaced(body) || number === by.toString())
  }

  #segments(entry: NumberedEntry<'segments'>, signer: string | undefined): void {
    const generation = this.#of(entry.body.generation)
    const to = parsePosition(entry.body.to)
    generation.lastSigner = signer
    generation.segments.push(entry)
    generation.to = to
    generation.reach(parsePosition(entry.body.end), entry.body.resume)
    generation.timeline = Math.max(generation.timeline, entry.body.timeline)
    generation.lastWrittenAt = entry.writtenAt
    generation.lastCommittedAt = entry.body.lastCommittedAt
    // What the log had before it began anew was stored all the same: where it goes on stands already.
    const { log } = entry.body
    if (log === null || Number(log.since) >= Number(generation.log?.since ?? 0)) generation.log = log
    if (entry.body.checked !== null)
      generation.checked = laterPosition(generation.checked, parsePosition(entry.body.checked))
  }

  #dropHolds(which: (hold: EntryOf<'hold'>) => boolean): void {
    for (const [id, { body }] of this.holds) if (which(body)) this.holds.delete(id)
    this.#kept = this.#kept.filter(
      ({ body }) => body.kind !== 'hold' || this.holds.has(body.id) || !which(body),
    )
  }

  /** The state becomes what a ledger would say that begins at the floor. */
  #removed(id: string): void {
    const at = this.retirements.findIndex((retirement) => retirement.id === id)
    const retirement = must(this.retirements[at], 'a retirement')
    if (retirement.isRemoved) return
    retirement.isRemoved = true
    // What was retired before it, and is still there, goes with it.
    const older = new Set(this.retirements.splice(0, at).map((one) => one.id))
    const { floor } = retirement
    const forgotten = new Set<string>()
    for (const generation of this.#generations.splice(
      0,
      this.#generations.findIndex((g) => g.facts.generation === floor.generation),
    ))
      forgotten.add(`g${generation.facts.generation}`)
    for (const number of this.#generations[0]!.forget(floor)) forgotten.add(number.toString())
    this.gaps.splice(0, this.gaps.length, ...this.gaps.filter((gap) => !forgotten.has(`g${gap.generation}`)))
    this.#kept = this.#kept.filter(({ number, body }) => {
      if ((body.kind === 'retire' || body.kind === 'removed') && older.has(body.id)) return false
      return !forgotten.has(number) && !('generation' in body && forgotten.has(`g${body.generation}`))
    })
    this.#setFloors()
  }

  #of(number: number): Generation {
    return must(
      this.#generations.find((g) => g.facts.generation === number),
      'a generation',
    )
  }
}
