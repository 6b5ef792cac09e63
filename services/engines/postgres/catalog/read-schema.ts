/**
 * Reads a database's schema and gives the ordered SQL that makes it from nothing, in two parts (before and after the
 * load): a restore works from that alone, by hand if need be.
 *
 * The order of creation follows pg_depend. What is not covered is said in the notes, never dropped silently. A reader
 * keeps what it read: its next reading prints only what changed, and what depends on that.
 */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import { catalogDigest } from './catalog-digest.ts'
import { dependentsOf } from './dependents.ts'
import { inOrder, type OrderedObject, readEdges } from './dependency-order.ts'
import type { Catalog, CatalogKind, CatalogObject } from './kind.ts'
import { KINDS } from './kinds.ts'
import { type Look, Looks } from './looks.ts'
import { readObjects } from './read-objects.ts'
import { type Made, uncovered } from './uncovered.ts'
import { untoldChanges } from './untold.ts'
import { changedKeys, readLightVersions, readVersions, VERSIONED, type Versions } from './versions.ts'

export type ReadSchema = SchemaFacts & { readonly reading: string; readonly head: string }

/** Readings that may be disturbed before what is there is taken, with what is unsettled named. */
const ROUNDS = 6
/** Where more than this has changed, all is read: one query is cheaper than its list of OIDs. */
const MOST_CHANGED = 2000

const HEAD = 'SELECT pg_current_wal_insert_lsn()::text AS head'

interface Round {
  readonly facts: ReadSchema
  /** LSN, text: every transaction that the snapshot shows ended before it. */
  readonly upTo: string
  readonly digest: string
  readonly writers: ReadonlyMap<string, ReadonlySet<number>>
  /** class:oid of what was printed in this round. */
  readonly printed: ReadonlySet<string>
  /** Rows of what is read each time. */
  readonly light: Versions
  readonly failed: ReadonlyMap<string, string>
  /** Nothing was read: the catalog is as the reading before saw it. */
  readonly isSame?: boolean
}

export class SchemaReader {
  /** Of kinds that are read each time; several may have one OID. */
  readonly #light = new Map<CatalogKind, readonly CatalogObject[]>()
  /** Of the others, by OID. */
  readonly #objects = new Map<CatalogKind, Map<number, CatalogObject>>()
  #versions: Versions | undefined
  #lightVersions: Versions = new Map()
  /** Those that a round printed while they changed: printed again by the next one. */
  #unsettled: ReadonlySet<string> = new Set()
  /** What could not be read of an object that did not change meanwhile: class:oid to the note. */
  readonly #unread = new Map<string, string>()
  #earlier: ReadSchema | undefined
  readonly #looks: Looks
  #digest: string | undefined
  /** Of the last round: who wrote what it saw. */
  #writers: ReadonlyMap<string, ReadonlySet<number>> = new Map()

  /** @param looks those of the reader before this one, where there was one */
  constructor(looks = new Looks()) {
    this.#looks = looks
  }

  /** Knows what this one knows: its readings leave no trace here. */
  copy(): SchemaReader {
    const other = new SchemaReader(this.#looks.copy())
    for (const [kind, objects] of this.#light) other.#light.set(kind, objects)
    for (const [kind, objects] of this.#objects) other.#objects.set(kind, new Map(objects))
    for (const [key, why] of this.#unread) other.#unread.set(key, why)
    other.#versions = this.#versions
    other.#lightVersions = this.#lightVersions
    other.#unsettled = this.#unsettled
    other.#earlier = this.#earlier
    other.#digest = this.#digest
    other.#writers = this.#writers
    return other
  }

  /** What the catalog looked like, for comparing two readers. */
  get versions(): Versions | undefined {
    return this.#versions
  }

  /** Over the catalog as the last reading saw it. */
  get digest(): string | undefined {
    return this.#digest
  }

  /** The catalog was found as the last reading saw it. */
  agreedAt(look: Look): void {
    if (this.#earlier !== undefined) this.#looks.add(look)
  }

  /**
   * Brings what is known to the present. The printing functions look past the snapshot: what changed while it was printed
   * is printed again, and after some rounds named as unsettled; the DDL that disturbs it has its records.
   *
   * @param options.stored the ledger's newest reading, where this is the first one of a process: what changed since
   * @param options.trustsDigest the same digest of the catalog says that there is nothing to be read: where the reading before is
   *   fresh, for what a digest does not see (what this role may not read)
   */
  async read(
    client: pg.Client,
    options: {
      readonly rounds?: number
      readonly stored?: Look | undefined
      readonly trustsDigest?: boolean
    } = {},
  ): Promise<ReadSchema> {
    const { rounds = ROUNDS, stored, trustsDigest = false } = options
    const catalog = await openCatalog(client)
    const earlier = this.#earlier ?? stored
    if (this.#earlier === undefined && stored !== undefined) this.#looks.add(stored)
    const known = {
      writers: this.#writers,
      versions: this.#versions,
      light: this.#lightVersions,
      objects: this.#known(),
      unsettled: this.#unsettled,
    }
    for (let left = rounds; ; left--) {
      const round = await this.#round(client, catalog, earlier, trustsDigest)
      const disturbed = round.isSame === true ? new Set<string>() : await this.#disturbed(catalog, round)
      for (const [key, why] of round.failed) if (!disturbed.has(key)) this.#unread.set(key, why)
      this.#unsettled = disturbed
      if (disturbed.size > 0 && left > 0) continue
      const unread = [...this.#unread].map(([key, why]) => `${key} could not be read: ${why}`)
      const unsettled = [...disturbed].map((key) => Number(key.split(':')[1]))
      const untold =
        earlier === undefined || round.isSame === true
          ? []
          : await this.#untold(catalog, known, earlier, round)
      const from = this.#looks.since
      this.#earlier = round.facts
      this.#looks.add(round.facts)
      this.#digest = round.digest
      this.#writers = round.writers
      return {
        ...round.facts,
        notes: [...round.facts.notes, ...unread],
        unsettled,
        ...(untold.length === 0 || from === undefined
          ? {}
          : { untold: { from, to: round.upTo, objects: untold } }),
      }
    }
  }

  /** What is known of every object, by class:oid. */
  #known(): Map<string, CatalogObject[]> {
    const all = new Map<string, CatalogObject[]>()
    for (const kind of KINDS)
      for (const object of this.#light.get(kind) ?? this.#objects.get(kind)?.values() ?? []) {
        const key = `${kind.class}:${object.oid}`
        const held = all.get(key)
        if (held === undefined) all.set(key, [object])
        else held.push(object)
      }
    return all
  }

  /** What was changed since the earlier reading and has no record. */
  #untold(
    catalog: Catalog,
    known: {
      readonly writers: ReadonlyMap<string, ReadonlySet<number>>
      readonly versions: Versions | undefined
      readonly light: Versions
      readonly objects: ReadonlyMap<string, readonly CatalogObject[]>
      readonly unsettled: ReadonlySet<string>
    },
    earlier: Look,
    { facts, writers }: Round,
  ): Promise<string[]> {
    const after = this.#known()
    // What is read each time has no versions: its text tells.
    const light = [...known.objects.keys(), ...after.keys()].filter(
      (key) => !VERSIONED.has(key.split(':')[0]!),
    )
    const changed =
      known.versions === undefined
        ? new Set([...writers.keys()].filter((key) => after.has(key)))
        : new Set([...changedKeys(known.versions, this.#versions!), ...light, ...known.unsettled])
    const own = [
      ...changedKeys(known.versions ?? new Map(), this.#versions!),
      ...changedKeys(known.light, this.#lightVersions),
    ]
    return untoldChanges(catalog, {
      torn: new Set(own.filter((key) => known.unsettled.has(key))),
      snapshot: earlier.snapshot,
      now: facts.snapshot,
      before: known.versions === undefined ? undefined : known.objects,
      after,
      there: this.#versions!,
      changed,
      writers,
      seen: known.writers,
    })
  }

  /** What was printed and changed before it was over. */
  async #disturbed(catalog: Catalog, { printed, light }: Round): Promise<Set<string>> {
    const changed = changedKeys(this.#versions!, (await readVersions(catalog)).versions)
    for (const key of changedKeys(light, await readLightVersions(catalog))) changed.add(key)
    if (changed.size === 0) return changed
    const all = new Set([...changed, ...(await dependentsOf(catalog, changed))])
    return new Set([...all].filter((key) => printed.has(key)))
  }

  async #round(
    client: pg.Client,
    catalog: Catalog,
    earlier: Look | undefined,
    trustsDigest: boolean,
  ): Promise<Round> {
    const [before] = await catalog.rows<{ head: string }>(HEAD)
    await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
    try {
      const [moment] = await catalog.rows<{ snapshot: string }>(
        'SELECT pg_current_snapshot()::text AS snapshot',
      )
      const [behind] = await catalog.rows<{ head: string }>(HEAD)
      const seen = await catalog.rows<{ xid: string }>('SELECT DISTINCT xid FROM tidemark.ddl')
      const digest = await catalogDigest(catalog)
      const head = before?.head ?? '0/0'
      const upTo = behind?.head ?? '0/0'
      if (trustsDigest) {
        const same = this.#same(digest, {
          head,
          snapshot: moment?.snapshot ?? '',
          ddlSeen: seen.map(({ xid }) => xid),
        })
        if (same !== undefined) return { ...same, upTo, digest }
      }
      const since = BigInt((earlier ?? moment)?.snapshot.split(':')[0] ?? '0')
      const { versions, writers } = await readVersions(catalog, since)
      const failed = new Map<string, string>()
      const versionsOfLight = await readLightVersions(catalog)
      const light = await this.#readLight(catalog, failed)
      const changed = new Set([...changedKeys(this.#versions ?? new Map(), versions), ...light.changed])
      const wanted =
        this.#versions === undefined || light.isRenamed || changed.size > MOST_CHANGED
          ? undefined
          : new Set([...changed, ...(await dependentsOf(catalog, changed)), ...this.#unsettled])
      const printed = await this.#readVersioned(catalog, wanted, failed)
      for (const key of versionsOfLight.keys()) printed.add(key)
      this.#lightVersions = versionsOfLight
      this.#versions = versions
      const facts = {
        ...(await this.#facts(catalog, moment?.snapshot ?? '', seen)),
        head,
      }
      return { facts, upTo, digest, writers, printed, light: versionsOfLight, failed }
    } finally {
      await client.query('ROLLBACK')
    }
  }

  /** What the reading before saw is there still, all of it, and it had seen each object whole. */
  #same(
    digest: string,
    moment: Pick<ReadSchema, 'head' | 'snapshot' | 'ddlSeen'>,
  ): Omit<Round, 'upTo' | 'digest'> | undefined {
    if (this.#earlier === undefined || digest !== this.#digest) return undefined
    if (this.#unsettled.size > 0 || this.#unread.size > 0) return undefined
    return {
      facts: { ...this.#earlier, ...moment, reading: randomUUID() },
      writers: this.#writers,
      printed: new Set(),
      light: this.#lightVersions,
      failed: new Map(),
      isSame: true,
    }
  }

  /** Kinds that are few, all of them: what changed, and whether names did that stand in everything. */
  async #readLight(
    catalog: Catalog,
    failed: Map<string, string>,
  ): Promise<{ readonly changed: Set<string>; readonly isRenamed: boolean }> {
    const changed = new Set<string>()
    let isRenamed = false
    for (const key of this.#unread.keys()) if (!VERSIONED.has(key.split(':')[0]!)) this.#unread.delete(key)
    for (const kind of KINDS.filter((one) => !VERSIONED.has(one.class))) {
      const before = byOid(this.#light.get(kind) ?? [])
      const read = await readObjects(catalog, kind)
      const now = byOid(read.objects)
      this.#light.set(kind, read.objects)
      for (const [oid, why] of read.failed) failed.set(`${kind.class}:${oid}`, why)
      for (const [oid, object] of before)
        if (textOf(now.get(oid)) !== textOf(object)) {
          changed.add(`${kind.class}:${oid}`)
          isRenamed ||=
            (kind.name === 'schema' || kind.name === 'role') && nameOf(now.get(oid)) !== nameOf(object)
        }
    }
    return { changed, isRenamed }
  }

  /** @param wanted class:oid; all without it. Returns what was printed. */
  async #readVersioned(
    catalog: Catalog,
    wanted: ReadonlySet<string> | undefined,
    failed: Map<string, string>,
  ): Promise<Set<string>> {
    const printed = new Set<string>()
    if (wanted === undefined) this.#unread.clear()
    else for (const key of wanted) this.#unread.delete(key)
    for (const kind of KINDS.filter((one) => VERSIONED.has(one.class))) {
      const only =
        wanted === undefined
          ? undefined
          : [...wanted]
              .filter((key) => key.startsWith(`${kind.class}:`))
              .map((key) => Number(key.split(':')[1]))
      const read = await readObjects(catalog, kind, only)
      const known = only === undefined ? new Map<number, CatalogObject>() : this.#objects.get(kind)!
      for (const oid of only ?? []) known.delete(oid)
      for (const { oid, statements, notes } of read.objects) {
        known.set(oid, { oid, statements, ...(notes === undefined ? {} : { notes }) })
        printed.add(`${kind.class}:${oid}`)
      }
      for (const [oid, why] of read.failed) {
        failed.set(`${kind.class}:${oid}`, why)
        printed.add(`${kind.class}:${oid}`)
      }
      this.#objects.set(kind, known)
    }
    return printed
  }

  async #facts(
    catalog: Catalog,
    snapshot: string,
    seen: readonly { readonly xid: string }[],
  ): Promise<SchemaFacts & { readonly reading: string }> {
    const first: SchemaStatement[] = []
    const last: SchemaStatement[] = []
    const ordered: OrderedObject[] = []
    const notes: string[] = []
    const made: Made[] = []
    for (const kind of KINDS) {
      const objects = [...(this.#light.get(kind) ?? this.#objects.get(kind)?.values() ?? [])]
      // As one query over all of them gives them.
      if (VERSIONED.has(kind.class)) objects.sort((a, b) => a.oid - b.oid)
      for (const one of objects) {
        const object = {
          ...one,
          statements: one.statements.map((s) => ({ ...s, of: `${kind.class}:${one.oid}` })),
        }
        notes.push(...(object.notes ?? []))
        if (object.statements.length > 0) made.push({ class: kind.class, oid: object.oid })
        if (kind.order === 'by dependency') ordered.push(orderedObject(kind.class, object))
        else (kind.order === 'first' ? first : last).push(...object.statements)
      }
    }
    notes.push(...(await uncovered(catalog, made)))
    const statements = [...first, ...inOrder(ordered, await readEdges(catalog)), ...last]
    statements.sort((a, b) => a.rank - b.rank)
    return { reading: randomUUID(), snapshot, ddlSeen: seen.map((row) => row.xid), statements, notes }
  }
}

export async function openCatalog(client: pg.Client): Promise<Catalog> {
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> =>
    (await client.query<T>(sql)).rows
  const [server] = await rows<{ v: string; identities: boolean }>(
    `SELECT current_setting('server_version_num') AS v, to_regclass('tidemark.identity') IS NOT NULL AS identities`,
  )
  return { rows, version: Number(server?.v), hasIdentities: server?.identities === true }
}

function byOid(objects: readonly CatalogObject[]): Map<number, readonly CatalogObject[]> {
  return Map.groupBy(objects, (object) => object.oid)
}

function textOf(objects: readonly CatalogObject[] | undefined): string {
  return JSON.stringify(objects?.map((object) => object.statements))
}

function nameOf(objects: readonly CatalogObject[] | undefined): string | undefined {
  return objects?.[0]?.statements[0]?.objects[0]?.name
}

function orderedObject(catalogClass: string, object: CatalogObject): OrderedObject {
  return { key: `${catalogClass}:${object.oid}`, oid: object.oid, statements: object.statements }
}
